# What the tests of the command line tool share: how it is called, at a
# terminal, too.

package CommandTest;

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

use parent 'Exporter';
our @EXPORT = qw(environment call_tool prints refuses start_at_terminal at_terminal raw_controls);

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs";

# Its environment: as superuser in the database "postgres", if no option says
# otherwise
sub environment
{
	my ($node) = @_;
	my %environment = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');

	delete $environment{PGAPPNAME};
	return %environment;
}

# Status, output and errors of a call
sub call_tool
{
	my ($node, @arguments) = @_;
	my ($out, $err);

	local %ENV = environment($node);
	IPC::Run::run [ 'sh', $tool, @arguments ], '<', \undef, '>', \$out, '2>', \$err;
	return ($? >> 8, $out, $err);
}

# What a call prints that does what it should
sub prints
{
	my ($node, @arguments) = @_;
	my ($status, $out, $err) = call_tool($node, @arguments);

	is("$status $err", '0 ', "@arguments: done") or diag($out);
	return $out;
}

# A call that is refused with a status and a message, and prints nothing
sub refuses
{
	my ($node, $status_wanted, $message, @arguments) = @_;
	my ($status, $out, $err) = call_tool($node, @arguments);

	is($status, $status_wanted, "@arguments: status");
	is($out, '', "@arguments: prints nothing");
	like($err, $message, "@arguments: message");
	return;
}

# Starts it at a terminal of so many columns and lines; what is written to $$in
# is typed there, and $$out is what it shows.
sub start_at_terminal
{
	my ($node, $columns, $lines, $in, $out, @arguments) = @_;

	local %ENV = environment($node);
	return IPC::Run::start(
		[ 'sh', '-c', "stty cols $columns rows $lines; exec sh \"\$@\" 2>&1", 'sh', $tool, @arguments ],
		'<pty<', $in, '>pty>', $out, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}

# What a call shows there, its lines without the terminal's returns
sub at_terminal
{
	my ($node, $columns, @arguments) = @_;
	my ($in, $out) = ('', '');
	my $run = start_at_terminal($node, $columns, 24, \$in, \$out, @arguments);

	$run->finish;
	is($run->full_result(0), 0, "@arguments: done at a terminal") or diag($out);
	return $out =~ s/\r\n/\n/gr;
}

# Control characters that a terminal would obey
sub raw_controls
{
	my ($text) = @_;
	return join ' ', map { sprintf '%vx', $_ } $text =~ /[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]/g;
}

1;
