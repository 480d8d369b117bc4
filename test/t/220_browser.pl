# What the tests have a browser do waits for a page that comes slowly; and a
# browser that does not start is started again, and is not silent about why.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Browser;
use IO::Socket::INET;
use POSIX qw(_exit);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'no chromium here' if !Browser::is_there();

# A server whose page is half there for a second
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die "listen: $!";
my $server = fork // die "fork: $!";
if ($server == 0)
{
	while (my $client = $listener->accept)
	{
		my $request = <$client> // '';
		my $page = $request =~ m{^GET / } ? '<title>slow</title>' . ' ' x 4096 . '<p id="end">end' : '';

		while (defined(my $line = <$client>)) { last if $line eq "\r\n"; }
		print $client "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: " . length($page) . "\r\n\r\n";
		print $client substr $page, 0, 2048;
		$client->flush;
		sleep 1 if $page;
		print $client substr $page, 2048 if $page;
		close $client;
	}
	_exit(0);
}

# The browsers that are found first: one that never starts, and one that does so
# only the second time
my $folder = PostgreSQL::Test::Utils::tempdir;
my $path = $ENV{PATH};

sub put_first
{
	my ($script) = @_;

	unlink "$folder/chromium";
	append_to_file("$folder/chromium", "#!/bin/sh\n$script\n");
	chmod 0755, "$folder/chromium";
	$ENV{PATH} = "$folder:$path";
	return;
}

put_first('echo "no display"; exit 3');
my $begin = time;
is(eval { Browser->new }, undef, 'a browser that does not start');
like($@, qr/^chromium did not start: chromium has ended with status 768\nno display\n/, 'and what it said');
cmp_ok(time - $begin, '<', 60, 'at once');

put_first("PATH='$path'; [ -e '$folder/again' ] || { touch '$folder/again'; exit 1; }; exec chromium \"\$@\"");

my $browser = Browser->new;
ok(-e "$folder/again", 'one that starts the second time');

my $port = $listener->sockport;
$browser->open_page("http://127.0.0.1:$port/");
is($browser->value('document.getElementById("end").textContent'), 'end', 'all of the page is there');
$browser->value('setTimeout(() => document.body.innerHTML = "<p id=late>late", 1000), 0');
ok($browser->becomes('document.getElementById("late").textContent === "late"'), 'or what comes even later');
$browser->close_browser;

kill 'KILL', $server;
waitpid $server, 0;
done_testing();
