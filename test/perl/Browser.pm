# A headless Chromium, driven over its DevTools protocol by a pair of pipes.
#
# Messages are JSON with a zero byte behind each: commands on its descriptor 3,
# answers and events on its descriptor 4.  Each page is a session of its own in
# its own browser, so that nothing is left of one to the next.

package Browser;

use strict;
use warnings FATAL => 'all';

use IO::Select;
use JSON::PP;
use POSIX qw(_exit dup2);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

# Is there one?
sub is_there
{
	return system('command -v chromium >/dev/null 2>&1') == 0;
}

# A browser with one empty page, which notes what it asks for and complains of
sub new
{
	my ($class) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir;
	my $self = bless { id => 0, buffer => '', events => [] }, $class;

	pipe my $commands, $self->{to} or die "pipe: $!";
	pipe $self->{from}, my $answers or die "pipe: $!";
	$self->{pid} = fork // die "fork: $!";
	if ($self->{pid} == 0)
	{
		dup2(fileno $commands, 10) && dup2(fileno $answers, 11)
		  && dup2(10, 3) && dup2(11, 4) or _exit(1);
		open STDOUT, '>', "$folder/log";
		open STDERR, '>&', \*STDOUT;
		exec 'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking',
		  '--disable-dev-shm-usage', '--no-first-run', '--remote-debugging-pipe', "--user-data-dir=$folder/profile"
		  or _exit(1);
	}
	$self->{to}->autoflush(1);

	my $target = $self->call('Target.createTarget', url => 'about:blank')->{targetId};
	$self->{session} = $self->call('Target.attachToTarget', targetId => $target, flatten => JSON::PP::true)->{sessionId};
	$self->call("$_.enable") foreach qw(Page Runtime Log Network);
	return $self;
}

# The next message; undef if there is none in time
sub read_message
{
	my ($self, $deadline) = @_;
	my $end;

	while (($end = index $self->{buffer}, "\0") < 0)
	{
		my $left = $deadline - time;
		return if $left <= 0 || !IO::Select->new($self->{from})->can_read($left);
		sysread $self->{from}, $self->{buffer}, 1 << 20, length $self->{buffer}
		  or die 'chromium has ended';
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

	print { $self->{to} } encode_json({
		id => $id, method => $method, params => \%params,
		$self->{session} ? (sessionId => $self->{session}) : () }) . "\0";
	while (my $message = $self->read_message($deadline))
	{
		if (!exists $message->{id})
		{
			push @{ $self->{events} }, $message;
			next;
		}
		die "$method: $message->{error}{message}" if $message->{error};
		return $message->{result};
	}
	die "$method: no answer";
}

sub open_page
{
	my ($self, $url) = @_;
	return $self->call('Page.navigate', url => $url);
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

# Waits until an expression is true in the page; false if it never is
sub becomes
{
	my ($self, $expression) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $self->value($expression);
		sleep 0.1;
	}
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

	return if !$self->{pid};
	eval { delete $self->{session}; $self->call('Browser.close') };
	kill 'KILL', $self->{pid} if $@;
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
