# A real Prometheus for tests: it scrapes what it is told, and answers queries.

package PrometheusTest;

use strict;
use warnings FATAL => 'all';

use HttpTest qw(free_port get);
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# Started in a folder, with these scrape_configs and options.  The test is
# skipped where there is none.
sub new
{
	my ($class, $folder, $scrape_configs, @options) = @_;
	my $port = free_port();
	my $self = bless { port => $port, err => '', out => '' }, $class;

	append_to_file("$folder/prometheus.yml",
		"global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:\n$scrape_configs");
	$self->{process} = IPC::Run::start [ program(),
		"--config.file=$folder/prometheus.yml", "--storage.tsdb.path=$folder/data",
		"--web.listen-address=127.0.0.1:$port", '--log.level=warn', @options ],
	  '>', \$self->{out}, '2>', \$self->{err};
	return $self;
}

sub program
{
	my ($program) = grep { -x $_ } map { "$_/prometheus" } split /:/, $ENV{PATH};

	plan skip_all => 'no Prometheus here' if !defined $program;
	return $program;
}

# A body that came in chunks, each after its length
sub join_chunks
{
	my ($body) = @_;
	my $whole = '';

	while ($body =~ s/\A([0-9a-f]+)\r\n// && hex $1)
	{
		$whole .= substr $body, 0, hex $1, '';
		$body =~ s/\A\r\n//;
	}
	return $whole;
}

# What its API says at a path to a query, with more parameters: a status, and
# data or an error
sub ask_api
{
	my ($self, $path, $promql, $parameters) = @_;
	my $query = $promql =~ s/([^\w])/sprintf '%%%02X', ord $1/ger;

	$self->{process}->pump_nb;
	my $body = get($self->{port}, "/api/v1/$path?query=$query" . ($parameters // ''))->{body};
	$body = join_chunks($body) if $body =~ /\A[0-9a-f]+\r\n/;
	return eval { decode_json($body) } // { status => 'none' };
}

sub answer_to
{
	my ($self, $promql) = @_;
	return $self->ask_api('query', $promql);
}

# The result, once there is one that pleases; it does if it is not empty
sub query
{
	my ($self, $promql, $pleases) = @_;

	foreach (1 .. 5 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $answer = $self->answer_to($promql);
		my $result = $answer->{data}{result} // [];

		return $result if @$result && (!defined $pleases || $pleases->($result));
		last if $answer->{status} eq 'error';
		sleep 0.2;
	}
	return [];
}

# What it has to say of its scrapes
sub complaints
{
	my ($self) = @_;
	return join '', map { "$_\n" } grep { /level=(?:warn|error).*scrape/ } split /\n/, $self->{err};
}

sub stop
{
	my ($self) = @_;

	$self->{process}->signal('TERM');
	$self->{process}->finish;
	return;
}

1;
