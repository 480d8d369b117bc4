# lib.sh - what the scripts in dev/ share; bash, sourced.
#
# A script that starts servers calls make_work, works in $work, and starts
# whatever takes time with run or as_server.  Ending the script, also by a
# signal, ends all of it and removes $work.
# shellcheck shell=bash

set -euo pipefail
umask 022

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${FRAISEQL_OBS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/fraiseql_obs}
export FRAISEQL_OBS_CACHE=$cache # HOME will change

# The caller's servers, settings and languages are none of ours.
for name in $(compgen -e); do
	case $name in
		PG_CONFIG | FRAISEQL_OBS_*) ;;
		PG* | FRAISEQL_* | LC_* | LANGUAGE | MAKE* | MFLAGS | TMPDIR | TEMP_CONFIG)
			unset "$name" ;;
	esac
done
export LANG=C.UTF-8 LC_ALL=C.UTF-8

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Prints the script's own description.
usage()
{
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
	exit "$1"
}

note()
{
	printf '%s\n' "$*" >&2
}

# Sets pg_version, and pg_bin if that version is installed: the one of
# PG_CONFIG, else the newest that is installed, else the distribution's.
find_postgres()
{
	local dir

	pg_bin=
	if [ -n "${PG_CONFIG:-}" ]; then
		pg_bin=$("$PG_CONFIG" --bindir)
		pg_version=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
		return
	fi
	for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5n); do
		[ -x "$dir/postgres" ] && pg_bin=$dir
	done
	if [ -n "$pg_bin" ]; then
		pg_version=${pg_bin#/usr/lib/postgresql/}
		pg_version=${pg_version%/bin}
	else
		pg_version=$(apt-cache depends postgresql 2>/dev/null |
			sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | tail -n 1)
	fi
}

# PostgreSQL refuses to run as root.
if [ "$EUID" = 0 ]; then
	server_user=postgres
	unprivileged=(setpriv --reuid=postgres --regid=postgres --init-groups --)
else
	server_user=$(id -un)
	unprivileged=()
fi

# Runs a command in a process group of its own and waits for it, so that a
# signal reaches the traps at once and they can end the whole group.  The
# terminal is not that group's to read.
job=
run()
{
	local status=0

	set -m
	if [ -t 0 ]; then "$@" </dev/null & else "$@" <&0 & fi
	job=$!
	set +m
	wait "$job" || status=$?
	job=
	return "$status"
}

as_server()
{
	run "${unprivileged[@]}" "$@"
}

# Makes $work, writable for the server's user, in /tmp or a folder; its path is
# short because sockets live in it.
make_work()
{
	work=$(mktemp -d "${1:-/tmp}/fobs.XXXXXX")
	trap end_work EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	chmod 755 "$work"
	[ "$EUID" != 0 ] || chown "$server_user" "$work"
	export HOME=$work TMPDIR=$work
	cd -- "$work"
}

end_work()
{
	local file

	trap '' HUP INT TERM
	[ -z "$job" ] || kill -TERM -- "-$job" 2>/dev/null || true
	find "$work" -name postmaster.pid 2>/dev/null | while read -r file; do
		kill -QUIT "$(head -n 1 "$file")" 2>/dev/null || true
	done
	[ -z "$job" ] || wait "$job" 2>/dev/null || true
	rm -rf -- "$work" 2>/dev/null || { sleep 1; rm -rf -- "$work"; }
}

# Copies the source, without what was built, to $work/src.
copy_source()
{
	mkdir "$work/src"
	tar -C "$here" -cf - --exclude=./.git --exclude='*.o' --exclude='*.bc' \
		--exclude='*.so' --exclude='./tmp_check*' --exclude=./results . |
		tar -C "$work/src" -xf - --no-same-owner
	[ "$EUID" != 0 ] || chown -R "$server_user:" "$work/src"
}

# Builds $work/src and installs it under $work/root, so that nothing is
# written to the system; arguments go to make.
build()
{
	as_server make -s -C "$work/src" PG_CONFIG="$pg_bin/pg_config" "$@" &&
		as_server make -s -C "$work/src" PG_CONFIG="$pg_bin/pg_config" \
			DESTDIR="$work/root" install "$@" >/dev/null
}

# Prints the settings with which a server finds what build installed.
build_settings()
{
	local sharedir libdir

	sharedir=$work/root$("$pg_bin/pg_config" --sharedir)
	libdir=$work/root$("$pg_bin/pg_config" --pkglibdir)
	if [ "$pg_version" -ge 18 ]; then
		printf "extension_control_path = '%s:\$system'\n" "$sharedir"
	else
		printf "extension_destdir = '%s'\n" "$work/root"
	fi
	printf "dynamic_library_path = '%s:\$libdir'\n" "$libdir"
}
