# What the tests of sending spans share: a server that makes spans and sends
# them, an endpoint that behaves as it is told, and one that is OpenTelemetry's.

package OtlpTest;

use strict;
use warnings FATAL => 'all';

use Compress::Zlib ();
use Cwd ();
use File::Basename ();
use IO::Socket::INET;
use JSON::PP;
use ModuleTest;
use ObsTest;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep time);

use parent 'Exporter';
our @EXPORT = qw(need_sender start_otlp_node configure make_spans wait_for
  wait_for_metric otlp worker_pid ends_within);

# The test needs the module, which is built where libcurl is.
sub need_sender
{
	my ($node) = @_;

	need_module($node, 'fraiseql_obs_otlp', 'libcurl');
	return;
}

# A running server that sends its spans to a port of this machine, quickly.
# Only what a test makes has spans, however slow the machine is.
sub start_otlp_node
{
	my ($name, $port, $conf, %init) = @_;
	my $node = start_node($name,
		"fraiseql_obs.slow_query_threshold = '1h'\n"
		  . "fraiseql_obs.otlp_interval = '50ms'\n"
		  . ($conf // ''), %init);

	need_sender($node);
	configure($node, otlp_endpoint => "http://127.0.0.1:$port");
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return $node if defined worker_pid($node) && otlp_is_on($node);
		sleep 0.1;
	}
	die 'nothing is sent';
}

sub otlp_is_on
{
	my ($node) = @_;
	return observe($node, q(SELECT current_setting('fraiseql_obs.otlp_endpoint') <> '')) eq 't';
}

# Changes settings, without a restart.
sub configure
{
	my ($node, %settings) = @_;

	$node->append_conf('postgresql.conf', "fraiseql_obs.$_ = '$settings{$_}'")
	  foreach sort keys %settings;
	$node->reload;
	return;
}

# So many statements in a trace, each of three spans
sub make_spans
{
	my ($node, $n, $trace) = @_;
	$trace //= '4bf92f3577b34da6a3ce929d0e0e4736';

	$node->safe_psql('app',
		"SET fraiseql_obs.traceparent = '00-$trace-00f067aa0ba902b7-01';\n"
		  . "SELECT 1;\n" x $n);
	return;
}

# Waits until a function returns true.
sub wait_for
{
	my ($name, $function) = @_;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return pass($name) if $function->();
		sleep 0.1;
	}
	return fail($name);
}

# The metrics about sending spans as one line: "accepted 3, 2xx 1"; zeroes are
# left out.
sub otlp
{
	my ($node) = @_;
	return observe($node, q(
		SELECT string_agg(concat_ws(' ', coalesce(labels->>'outcome', labels->>'status',
			substr(name, 19)), value), ', ' ORDER BY name DESC, labels->>'status', labels->>'outcome')
		FROM fraiseql_obs.metrics()
		WHERE name LIKE 'fraiseql_obs_otlp_%' AND value > 0));
}

# Waits until they are so.
sub wait_for_metric
{
	my ($node, $wanted, $name) = @_;
	my $is;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$is = otlp($node);
		last if $is eq $wanted;
		sleep 0.1;
	}
	return is($is, $wanted, $name);
}

# The process that sends
sub worker_pid
{
	my ($node) = @_;

	return process_titled($node, 'fraiseql_obs span sender');
}

# Does a process end in so many seconds, when it is sent a signal?
sub ends_within
{
	my ($pid, $signal, $seconds) = @_;
	my $until = time() + $seconds;

	kill $signal, $pid;
	while (time() < $until)
	{
		return 1 if !-e "/proc/$pid";
		sleep 0.01;
	}
	return 0;
}

# Something that listens at a port and logs what it is asked, in a process
package OtlpTest::Listener;

sub port { return $_[0]->{port} }

# The requests until now, of which the log has a line each
sub requests
{
	my ($self) = @_;
	my $log = "$self->{folder}/log";
	return [] if !-e $log;
	return [ map { JSON::PP::decode_json($_) } split /\n/, PostgreSQL::Test::Utils::slurp_file($log) ];
}

sub stop
{
	my ($self) = @_;
	return if !defined $self->{pid} || $self->{owner} != $$;
	kill 'KILL', $self->{is_group} ? -$self->{pid} : $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = undef;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;
	$self->stop;
	return;
}

# An endpoint that does with each request what it was told last
package OtlpTest::Endpoint;

our @ISA = ('OtlpTest::Listener');

# Options: port, to take the place of another one.  Its requests are {line,
# headers, body, at}.
sub new
{
	my ($class, %options) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { folder => $folder, owner => $$, is_group => 1 }, $class;
	my $listener = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => $options{port} // 0,
		Listen => 50,
		ReuseAddr => 1) or die "cannot listen: $!";

	$self->{port} = $listener->sockport;
	$self->behave('ok');
	$self->{pid} = fork() // die "cannot fork: $!";
	if ($self->{pid} == 0)
	{
		$SIG{CHLD} = 'IGNORE';
		$SIG{PIPE} = 'IGNORE';
		$self->serve($listener);
		POSIX::_exit(0);
	}
	close $listener;
	return $self;
}

# What to do from now on: a name of a function below that begins with do_, with
# an argument.
sub behave
{
	my ($self, $name, $argument) = @_;
	my $file = "$self->{folder}/behaviour";

	unlink "$file.new";
	PostgreSQL::Test::Utils::append_to_file("$file.new", join ' ', $name, $argument // '');
	rename "$file.new", $file;
	return;
}

sub forget
{
	my ($self) = @_;
	unlink "$self->{folder}/log";
	return;
}

sub serve
{
	my ($self, $listener) = @_;

	POSIX::setpgid(0, 0);
	while (1)
	{
		my $client = $listener->accept or next;
		if (fork() == 0)
		{
			close $listener;
			while ($self->answer($client)) { }
			POSIX::_exit(0);
		}
		close $client;
	}
	return;
}

# Reads a request and does what is to be done; false when that is all.
sub answer
{
	my ($self, $client) = @_;
	my $buffer = '';

	while ($buffer !~ /\r\n\r\n/)
	{
		return 0 if !sysread $client, $buffer, 65536, length $buffer;
	}
	my ($head, $body) = split /\r\n\r\n/, $buffer, 2;
	my ($line, @headers) = split /\r\n/, $head;
	my %headers = map { /^([^:]+): (.*)$/ ? (lc $1 => $2) : () } @headers;
	while (length $body < ($headers{'content-length'} // 0))
	{
		return 0 if !sysread $client, $body, 65536, length $body;
	}
	$body = Compress::Zlib::memGunzip($body) if ($headers{'content-encoding'} // '') eq 'gzip';
	PostgreSQL::Test::Utils::append_to_file("$self->{folder}/log",
		JSON::PP->new->ascii->encode(
			{ line => $line, headers => \%headers, body => $body, at => Time::HiRes::time() }) . "\n");

	my ($name, $argument) = split / /,
	  PostgreSQL::Test::Utils::slurp_file("$self->{folder}/behaviour"), 2;
	my $does = $self->can("do_$name") // die "cannot $name";
	return $does->($client, $argument);
}

sub send_answer
{
	my ($client, $status, $headers, $body) = @_;
	return defined syswrite $client,
	  "HTTP/1.1 $status\r\nContent-Length: " . length($body) . "\r\n$headers\r\n$body";
}

sub do_ok
{
	my ($client, $argument) = @_;
	return send_answer($client, '200 OK', "Content-Type: application/json\r\n", $argument || '{}');
}

# A status, and a header behind a blank
sub do_status
{
	my ($client, $argument) = @_;
	my ($status, $header) = split / /, $argument, 2;
	return send_answer($client, "$status Said", defined $header ? "$header\r\n" : '', 'as told');
}

sub do_hang
{
	sleep 1000;
	return 0;
}

sub do_reset
{
	my ($client) = @_;
	setsockopt $client, Socket::SOL_SOCKET, Socket::SO_LINGER, pack 'II', 1, 0;
	close $client;
	return 0;
}

sub do_close { return 0 }

sub do_raw
{
	my ($client, $argument) = @_;
	syswrite $client, $argument;
	return 0;
}

sub do_drip
{
	my ($client, $argument) = @_;
	foreach my $byte (split //, "HTTP/1.1 200 OK\r\nX: " . ('x' x 10000))
	{
		last if !defined syswrite $client, $byte;
		Time::HiRes::sleep(0.05);
	}
	return 0;
}

sub do_endless_body
{
	my ($client) = @_;
	syswrite $client, "HTTP/1.1 200 OK\r\n\r\n{";
	while (defined syswrite $client, ' ' x 65536) { }
	return 0;
}

sub do_endless_headers
{
	my ($client) = @_;
	syswrite $client, "HTTP/1.1 200 OK\r\n";
	while (defined syswrite $client, "X: y\r\n" x 1000) { }
	return 0;
}

sub do_endless_continue
{
	my ($client) = @_;
	while (defined syswrite $client, "HTTP/1.1 100 Continue\r\n\r\n" x 1000) { }
	return 0;
}

# 200, and then nothing of the body that was promised
sub do_half
{
	my ($client) = @_;
	syswrite $client, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{";
	sleep 1000;
	return 0;
}

# OpenTelemetry's own code behind an endpoint, in Node
package OtlpTest::Receiver;

our @ISA = ('OtlpTest::Listener');

# Options: key and certificate, for TLS.  Nothing if there is no Node, or not
# the code.
sub new
{
	my ($class, %options) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { folder => $folder, owner => $$ }, $class;
	my $program = File::Basename::dirname(Cwd::abs_path(__FILE__)) . '/../otlp_receiver';

	$class->install or return;
	$self->{pid} = fork() // die "cannot fork: $!";
	if ($self->{pid} == 0)
	{
		exec('node', $program, "$folder/port", "$folder/log",
			defined $options{key} ? ($options{key}, $options{certificate}) : ())
		  or POSIX::_exit(1);
	}
	foreach (1 .. 600)
	{
		last if -e "$folder/port";
		Time::HiRes::sleep(0.1);
	}
	$self->{port} = PostgreSQL::Test::Utils::slurp_file("$folder/port");
	return $self;
}

# Sees to it that the code is there, from npm's registry.
sub install
{
	my $load = q(node -e "require('@opentelemetry/otlp-transformer/build/src/generated/root')" >/dev/null 2>&1);

	return 1 if system($load) == 0;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	system("npm install --silent --no-audit --no-fund --fetch-retries=1 --prefix '$folder'"
		. ' @opentelemetry/otlp-transformer@0.208.0 @opentelemetry/api@1 >/dev/null 2>&1 </dev/null');
	$ENV{NODE_PATH} = "$folder/node_modules";
	return system($load) == 0;
}

# Of its requests, which are as otlp_receiver has them
sub spans
{
	my ($self) = @_;
	return [ map { @{ $_->{spans} // [] } } @{ $self->requests } ];
}

1;
