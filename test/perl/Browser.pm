# A headless Chromium, driven over its DevTools protocol by a pair of pipes.
#
# Messages are JSON with a zero byte behind each: commands on its descriptor 3,
# answers and events on its descriptor 4.  Each page is a session of its own in
# its own browser, so that nothing is left of one to the next.
#
# What it says itself is shown when it does not start, or ends before it should.
# Its start is tried again then, as that is none of what is tested here.

package Browser;

use strict;
use warnings FATAL => 'all';

use Fcntl qw(F_DUPFD);
use IO::Select;
use JSON::PP;
use POSIX qw(_exit dup2 WNOHANG);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $tries = 3;

# Is there one?
sub is_there
{
	return system('command -v chromium >/dev/null 2>&1') == 0;
}

# A browser with one empty page, which notes what it asks for and complains of
sub new
{
	my ($class) = @_;

	foreach my $try (1 .. $tries)
	{
		my $self = bless { id => 0, buffer => '', events => [], folder => PostgreSQL::Test::Utils::tempdir }, $class;

		return $self if eval { $self->start; $self->take_page; 1 };
		my $trouble = "chromium did not start: $@";
		$self->kill_browser;
		die $trouble if $try == $tries;
		diag $trouble;
	}
}

# Starts the program.  Its ends of the pipes may have any number here, so they
# go where none of those that it is to have is before they get these.
sub start
{
	my ($self) = @_;

	pipe my $commands, $self->{to} or die "pipe: $!";
	pipe $self->{from}, my $answers or die "pipe: $!";
	$self->{pid} = fork // die "fork: $!";
	if ($self->{pid} == 0)
	{
		my $in = fcntl $commands, F_DUPFD, 5;
		my $out = fcntl $answers, F_DUPFD, 5;

		open STDOUT, '>', "$self->{folder}/log" or _exit(1);
		open STDERR, '>&', \*STDOUT or _exit(1);
		dup2($in, 3) && dup2($out, 4) or _exit(1);
		POSIX::close($_) foreach $in, $out;
		exec 'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking',
		  '--disable-dev-shm-usage', '--no-first-run', '--remote-debugging-pipe',
		  "--user-data-dir=$self->{folder}/profile", 'about:blank'
		  or _exit(1);
	}
	return;
}

# Takes the page that it opens itself, which may be after it answers.
sub take_page
{
	my ($self) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $page;

	while (!$page)
	{
		($page) = grep { $_->{type} eq 'page' } @{ $self->call('Target.getTargets')->{targetInfos} };
		die 'no page' if time > $deadline;
		sleep 0.1 if !$page;
	}
	$self->{session} = $self->call('Target.attachToTarget', targetId => $page->{targetId}, flatten => JSON::PP::true)->{sessionId};
	$self->call("$_.enable") foreach qw(Page Runtime Log Network);
	return;
}

# What went wrong, with the end of what it says itself
sub trouble
{
	my ($self, $what) = @_;
	my $log = eval { slurp_file("$self->{folder}/log") } // '';

	return "$what\n" . substr($log, -4000) . "\n";
}

# The next message; undef if there is none in time
sub read_message
{
	my ($self, $deadline) = @_;
	my $end;

	while (($end = index $self->{buffer}, "\0") < 0)
	{
		my $left = $deadline - time;

		return if $left <= 0;
		if (IO::Select->new($self->{from})->can_read($left < 1 ? $left : 1))
		{
			my $n = sysread $self->{from}, $self->{buffer}, 1 << 20, length $self->{buffer};

			next if $n || !defined $n && $!{EINTR};
			waitpid $self->{pid}, 0;
		}
		elsif (waitpid($self->{pid}, WNOHANG) == 0)
		{
			next;
		}
		my $status = $?;
		delete $self->{pid};
		die $self->trouble("chromium has ended with status $status");
	}
	my $message = substr $self->{buffer}, 0, $end + 1, '';
	return decode_json(substr $message, 0, -1);
}

# The result of a command
sub call
{
	my ($self, $method, %params) = @_;
	my $id = ++$self->{id};
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	syswrite $self->{to}, encode_json({
		id => $id, method => $method, params => \%params,
		$self->{session} ? (sessionId => $self->{session}) : () }) . "\0";
	while (my $message = $self->read_message($deadline))
	{
		if (!exists $message->{id})
		{
			push @{ $self->{events} }, $message;
			next;
		}
		die $self->trouble("$method: $message->{error}{message}") if $message->{error};
		return $message->{result};
	}
	die $self->trouble("$method: no answer");
}

# Opens a page and waits until all of it is there: the browser answers when it
# has begun to come.
sub open_page
{
	my ($self, $url) = @_;

	$self->call('Page.navigate', url => $url);
	$self->becomes('document.readyState === "complete"') or die $self->trouble("$url does not load");
	return;
}

# The value of an expression in the page, of a promise when it has one
sub value
{
	my ($self, $expression) = @_;
	my $result = $self->call(
		'Runtime.evaluate',
		expression => $expression,
		returnByValue => JSON::PP::true,
		awaitPromise => JSON::PP::true);

	die $result->{exceptionDetails}{exception}{description} if $result->{exceptionDetails};
	return $result->{result}{value};
}

# Waits until an expression is true in the page; false if it never is.  It may
# be of what is not there yet.
sub becomes
{
	my ($self, $expression) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if eval { $self->value($expression) };
		die $@ if !$self->{pid};
		sleep 0.1;
	}
	note $@ if $@;
	return 0;
}

# The URLs that have been asked for so far
sub requests
{
	my ($self) = @_;

	$self->value('0');
	return map { $_->{params}{request}{url} } grep { $_->{method} eq 'Network.requestWillBeSent' } @{ $self->{events} };
}

# What the page, or the browser about it, has complained of so far
sub complaints
{
	my ($self) = @_;
	my @found;

	$self->value('0');
	foreach my $event (@{ $self->{events} })
	{
		my ($method, $params) = @$event{qw(method params)};

		push @found, $params->{exceptionDetails}{text} if $method eq 'Runtime.exceptionThrown';
		push @found, "console.$params->{type}" if $method eq 'Runtime.consoleAPICalled';
		push @found, "$params->{entry}{text} $params->{entry}{url}"
		  if $method eq 'Log.entryAdded' && $params->{entry}{level} =~ /warning|error/;
	}
	return @found;
}

# Types text and a key into what has the focus
sub type_in
{
	my ($self, $text, $key) = @_;

	$self->call('Input.insertText', text => $text) if $text ne '';
	$self->call('Input.dispatchKeyEvent', type => $_, key => $key, $key eq 'Enter' ? (text => "\r", windowsVirtualKeyCode => 13) : ())
	  foreach 'keyDown', 'keyUp';
	return;
}

# Gives the window a width, and has a scheme of colours be liked
sub resize
{
	my ($self, $width, $scheme) = @_;

	$self->call(
		'Emulation.setDeviceMetricsOverride',
		width => $width,
		height => 800,
		deviceScaleFactor => 1,
		mobile => JSON::PP::false);
	$self->call('Emulation.setEmulatedMedia', features => [ { name => 'prefers-color-scheme', value => $scheme } ])
	  if defined $scheme;
	return;
}

sub close_browser
{
	my ($self) = @_;

	delete $self->{session};
	return if !$self->{pid};
	eval {
		$self->call('Browser.close');
		1 while $self->read_message(time + 10);    # dies when it has ended
	};
	$self->kill_browser;
	return;
}

sub kill_browser
{
	my ($self) = @_;

	return if !$self->{pid};
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;

	$self->close_browser;
	return;
}

1;
