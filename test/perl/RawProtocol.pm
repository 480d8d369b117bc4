# A client of the frontend/backend protocol (version 3.0) that sends exactly
# the messages it is told to send, in the order it is told to.  It is for what
# psql and libpq do not say: rows fetched in parts, portals that are never
# closed, pipelines with a failure in the middle.
#
#	my $client = RawProtocol->new($node, 'postgres');
#	$client->parse('', 'SELECT $1::int')->bind('', '', 42)->execute('', 0);
#	is($client->sync, '12D1C Z(I)');
#
# Messages are collected and sent by sync, flush and query, which return the
# answer as text: the type of each message; a row count behind "D" for data
# rows in a row, the SQLSTATE behind "E", the transaction status behind "Z".
# NoticeResponse and ParameterStatus are left out.

package RawProtocol;

use strict;
use warnings FATAL => 'all';

use IO::Select;
use IO::Socket::UNIX;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $node, $dbname) = @_;
	my $socket = IO::Socket::UNIX->new(
		Type => SOCK_STREAM,
		Peer => $node->host . '/.s.PGSQL.' . $node->port)
	  or die "could not connect: $!";
	my $self = bless { socket => $socket, out => '', in => '' }, $class;
	my $user = getpwuid($<);
	my $startup = pack('N(Z*)*x',
		3 << 16, 'user', $user, 'database', $dbname,
		'application_name', 'raw');

	$self->{out} = pack('N', 4 + length $startup) . $startup;
	$self->_read_until(qr/[ZE]/) =~ /Z\(I\)$/ or die 'could not log in';
	return $self;
}

sub _message
{
	my ($self, $type, $body) = @_;
	$self->{out} .= $type . pack('N', 4 + length $body) . $body;
	return $self;
}

# Name of the prepared statement, '' for the unnamed one
sub parse
{
	my ($self, $statement, $sql) = @_;
	return $self->_message('P', pack('Z*Z*n', $statement, $sql, 0));
}

# Parameters and results are text; undef is NULL.
sub bind
{
	my ($self, $portal, $statement, @params) = @_;
	my $body = pack('Z*Z*nn', $portal, $statement, 0, scalar @params);

	$body .= defined $_ ? pack('N/a*', $_) : pack('N', 0xffffffff)
	  foreach @params;
	return $self->_message('B', $body . pack('n', 0));
}

sub describe
{
	my ($self, $portal) = @_;
	return $self->_message('D', pack('aZ*', 'P', $portal));
}

# At most so many rows; 0 is all.
sub execute
{
	my ($self, $portal, $max_rows) = @_;
	return $self->_message('E', pack('Z*N', $portal, $max_rows));
}

sub close_portal
{
	my ($self, $portal) = @_;
	return $self->_message('C', pack('aZ*', 'P', $portal));
}

# Sends Sync and reads the answer up to and with ReadyForQuery.
sub sync
{
	my ($self) = @_;
	$self->_message('S', '');
	return $self->_read_until(qr/Z/);
}

# Sends Flush and reads up to the first message of these types.
sub flush
{
	my ($self, $types) = @_;
	$self->_message('H', '');
	return $self->_read_until($types);
}

# Simple query
sub query
{
	my ($self, $sql) = @_;
	$self->_message('Q', pack('Z*', $sql));
	return $self->_read_until(qr/Z/);
}

# Parse, Bind, Execute of the unnamed portal, then Sync
sub extended_query
{
	my ($self, $sql) = @_;
	return $self->parse('', $sql)->bind('', '')->execute('', 0)->sync;
}

sub terminate
{
	my ($self) = @_;
	$self->_message('X', '');
	$self->_send;
	close $self->{socket};
	return;
}

sub _send
{
	my ($self) = @_;
	my $written = syswrite($self->{socket}, $self->{out});

	die 'short write' if !defined $written || $written != length $self->{out};
	$self->{out} = '';
	return;
}

# Exactly so many bytes from the server
sub _read
{
	my ($self, $length) = @_;
	my $ready = IO::Select->new($self->{socket});

	while (length $self->{in} < $length)
	{
		$ready->can_read($PostgreSQL::Test::Utils::timeout_default)
		  or die 'timed out waiting for the server';
		sysread($self->{socket}, $self->{in}, 65536, length $self->{in})
		  or die 'the server closed the connection';
	}
	return substr($self->{in}, 0, $length, '');
}

sub _read_until
{
	my ($self, $types) = @_;
	my $answer = '';
	my $rows = 0;

	$self->_send;
	while (1)
	{
		my ($type, $length) = unpack('aN', $self->_read(5));
		my $body = $self->_read($length - 4);

		if ($type eq 'D')
		{
			$rows++;
		}
		else
		{
			$answer .= "D$rows" if $rows;
			$rows = 0;
			$answer .= $type if $type !~ /[NSRK]/;
			$answer .= "($1)" if $type eq 'E' && $body =~ /\0C([^\0]*)\0/;
			$answer .= "($body)" if $type eq 'Z';
		}
		return $answer if $type =~ $types;
	}
}

1;
