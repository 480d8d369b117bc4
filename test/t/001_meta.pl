# META.json is valid by the PGXN Meta Spec 1.0.0, and what is told twice in this
# tree is told alike.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;

my $control = slurp_file('fraiseql_obs.control');
my $makefile = slurp_file('Makefile');
my $meta = decode_json(slurp_file('META.json'));
my $semver = qr/^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)$/;

# The value of a list variable of the Makefile, sorted
sub makefile_list
{
	my ($variable) = @_;

	my ($value) = $makefile =~ /^$variable =((?:[^\n]*\\\n)*[^\n]*)$/m
	  or die "no $variable in the Makefile";
	return [ sort grep { $_ ne '\\' } split ' ', $value ];
}

# The names of the files that match a pattern, without folder and suffix
sub names
{
	my ($pattern) = @_;

	return [ sort map { m{([^/]+)\.\w+$} } glob $pattern ];
}

for my $key (qw(name version abstract maintainer license provides meta-spec))
{
	ok(defined $meta->{$key}, "META.json has the required \"$key\"");
}
my %known = map { $_ => 1 } qw(name version abstract maintainer license
  provides meta-spec description generated_by no_index prereqs
  release_status resources tags);
is_deeply([ grep { !$known{$_} && !/^x_/i } sort keys %$meta ],
	[], 'META.json has no key that the specification lacks');
is($meta->{'meta-spec'}{version}, '1.0.0', 'META.json names its spec');
is($meta->{license}, 'postgresql', 'the license is a keyword of the spec');
like($meta->{version}, $semver, 'the version is a semantic version');
ok((!grep { length > 255 || /[\\\/[:cntrl:]]/ } @{ $meta->{tags} }),
	'tags have no character that the spec forbids');

my ($sql_version) = $control =~ /^default_version = '(.*)'$/m;
like($meta->{version}, qr/^\Q$sql_version\E\.\d+$/,
	'the release is one of the control file\'s version');

my $provided = $meta->{provides}{fraiseql_obs};
is_deeply([ keys %{ $meta->{provides} } ],
	['fraiseql_obs'], 'one extension is provided');
like($provided->{version}, $semver, 'its version is a semantic version');
is($provided->{file}, 'fraiseql_obs.control',
	'its file is one that is not built');
ok(-f $provided->{$_}, "its $_ exists") for qw(file docfile);

for my $phase (values %{ $meta->{prereqs} })
{
	for my $relation (values %$phase)
	{
		while (my ($name, $version) = each %$relation)
		{
			ok($version eq '0' || $version =~ $semver,
				"the version of $name that is wanted is a version");
		}
	}
}

is_deeply(
	[ sort 'src/fraiseql_obs_sign.o',
		map { @{ makefile_list($_) } } qw(OBJS MODULE_OBJS HTTP_OBJS OTLP_OBJS) ],
	[ sort '$(WIN32RES)', map { s/\.c$/.o/r } glob 'src/*.c src/*/*.c' ],
	'the lists of objects have every source file');
is_deeply(makefile_list('SQL_PARTS'), names('sql/parts/*.sql'),
	'SQL_PARTS has every part of the install script');
is_deeply(makefile_list('REGRESS'),
	names('test/sql/*.sql'), 'REGRESS has every file of test/sql');
is_deeply(makefile_list('ISOLATION'),
	names('test/specs/*.spec'), 'ISOLATION has every file of test/specs');
is_deeply(
	names('expected/*'),
	[ sort @{ makefile_list('REGRESS') }, @{ makefile_list('ISOLATION') } ],
	'expected has the golden output of each, and no other');
is_deeply([ grep { !/--/ } glob 'sql/*.sql' ],
	[], 'nothing in sql can be taken for a test');

done_testing();
