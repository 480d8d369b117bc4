# bash completion of fraiseql-obs; for zsh by bashcompinit
#
# What there is to complete is what the command says in its help, so that it is
# never another.
# shellcheck shell=bash

_fraiseql_obs()
{
	local tool=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]}
	local before=${COMP_WORDS[COMP_CWORD - 1]}
	local commands command word help line='' choices='' i

	COMPREPLY=()
	# bash takes "--format=json" for three words, zsh for one
	case $current in
	--*=*)
		before=${current%%=*}
		current=${current#*=}
		;;
	=) current= ;;
	esac
	[ "$before" != = ] || before=${COMP_WORDS[COMP_CWORD - 2]}

	commands=$("$tool" help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\).*/\1/p')
	command=
	i=1
	while [ "$i" -lt "$COMP_CWORD" ] && [ -z "$command" ]; do
		command=$(echo "$commands" | grep -x -e "${COMP_WORDS[i]}")
		i=$((i + 1))
	done
	help=$("$tool" ${command:+"$command"} --help 2>/dev/null)

	# an option's value: its name, and what the help says it may be
	case $before in
	-*[!a-z-]*) ;;
	-*) line=$(echo "$help" | sed -n "s/^  \(-., \)\{0,1\}$before\(, --[a-z]*\)\{0,1\} \([A-Z][A-Z]*\)  *\(.*\)/\3 \4/p") ;;
	esac
	case $line in
	FILE*)
		compopt -o filenames 2>/dev/null
		while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$current")
		return
		;;
	?*)
		choices=$(echo "${line%%" (default "*}" |
			sed -n 's/.*[^,] \(\([a-z0-9]*, \)*[a-z0-9]* or [a-z0-9]*\)$/\1/p' | sed 's/, / /g; s/ or / /')
		;;
	*)
		case $current in
		-*) choices=$(echo "$help" | sed -n 's/^  \(-.*\)/\1/p' | sed 's/   *.*//' | grep -o -e '--*[a-z][a-z-]*') ;;
		*) [ -n "$command" ] || choices="$commands help" ;;
		esac
		;;
	esac
	while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$choices" -- "$current")
}

complete -F _fraiseql_obs fraiseql-obs
