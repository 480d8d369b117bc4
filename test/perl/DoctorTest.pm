# What the tests of the doctor share: its findings, and doing what it says.

package DoctorTest;

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;

use parent 'Exporter';
our @EXPORT = qw(doctor findings mending mend cured breaks wait_for);

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs";

# Status, output and errors
sub doctor
{
	my ($node, @arguments) = @_;
	my ($out, $err);

	local %ENV = (PGDATABASE => 'postgres', %ENV, PGHOST => $node->host, PGPORT => $node->port);
	IPC::Run::run [ 'sh', $tool, 'doctor', @arguments ], '<', \undef, '>', \$out, '2>', \$err;
	return ($? >> 8, $out, $err);
}

sub all_findings
{
	my ($node) = @_;
	my ($status, $out, $err) = doctor($node, '--format', 'json');

	die "the doctor says: $err" if $err ne '';
	return ($status, grep { $_->{severity} ne 'ok' } @{ decode_json($out) });
}

# Status, and "severity name: message" of what is wrong
sub findings
{
	my ($status, @findings) = all_findings(@_);

	return ($status, map { "$_->{severity} $_->{name}: $_->{message}" } @findings);
}

# "sql ...", "shell ..." and "conf ..." that mend what has a name
sub mending
{
	my ($node, $name) = @_;
	my (undef, @findings) = all_findings($node);

	return map { my $step = $_; map { "$_ $step->{$_}" } keys %$step }
	  map { @{ $_->{mend} } } grep { $_->{name} eq $name } @findings;
}

# Does all that is said, as it is said.
sub mend
{
	my ($node) = @_;
	my (undef, @findings) = all_findings($node);
	my @steps = map { @{ $_->{mend} } } @findings;

	local %ENV = (PGDATABASE => 'postgres', %ENV, PGHOST => $node->host, PGPORT => $node->port);
	foreach my $step (@steps)
	{
		note explain $step;
		if (defined $step->{sql})
		{
			$node->safe_psql($ENV{PGDATABASE}, $step->{sql});
			next;
		}
		if (defined $step->{conf})
		{
			$node->append_conf('postgresql.conf', $step->{conf});
			next;
		}
		my $log = $node->logfile;
		is(system("{ $step->{shell}\n} >>'$log' 2>&1 </dev/null"), 0, $step->{shell});
	}
	return;
}

# Does so, until nothing is wrong.
sub cured
{
	my ($node, $name) = @_;
	my @left;

	mend($node);
	foreach (1 .. 20)
	{
		@left = findings($node);
		last if @left == 1;
		sleep 1;    # a reload, or a process that begins, takes its time
	}
	is_deeply(\@left, [0], $name);
	return;
}

# Waits until something is found.
sub wait_for
{
	my ($node, $pattern) = @_;
	my $text;

	foreach (1 .. 20)
	{
		$text = join "\n", findings($node);
		return $text if $text =~ $pattern;
		sleep 1;
	}
	return $text;
}

# A statement breaks what is found then, and mended.
sub breaks
{
	my ($node, $sql, $restart, $finding) = @_;

	$node->safe_psql('postgres', $sql);
	$restart ? $node->restart : $node->reload;
	wait_for($node, qr/\Q$finding\E/);
	is_deeply([ findings($node) ], [ $finding =~ /^error/ ? 3 : 4, $finding ], $sql);
	cured($node, "mended: $sql");
	return;
}

1;
