/*-------------------------------------------------------------------------
 *
 * client.c
 *	  The client of dev/bench: the same statements against several servers.
 *
 *	  client run WORKLOAD COUNT CONNINFO
 *		runs COUNT statements on one connection, prints the backend's pid
 *
 *	  client time WORKLOAD CLIENTS COUNT ROUNDS SEED CONNINFO...
 *		keeps CLIENTS connections open to each server; in every round visits
 *		the servers in random order and runs COUNT statements on each of the
 *		connections at once; prints one line per round: nanoseconds per
 *		statement for each server, in the order of the command line, and then
 *		the nanoseconds of processor time of each server's backends
 *
 *	  client memory COUNT CONNINFO
 *		runs COUNT statements, no two with the same query identifier, and
 *		prints by how many bytes the backend's private memory has grown since
 *		it was connected
 *
 * WORKLOAD is "select" (pgbench -S, prepared), "one" (SELECT 1 by the simple
 * protocol), "nested" (COUNT runs of a SELECT inside a PL/pgSQL function,
 * in one round trip) or "request" (prepared, record_http_request(), whichever
 * the connection's search_path finds).  The nth statement of a connection is
 * the same whatever the server, so that differences between servers are not
 * differences of data.
 *
 * pgbench cannot do this: it knows one server at a time, and connecting
 * anew for a block of a few hundred statements costs more than the block.
 *
 * Any error ends the program: a number measured around a failure is worse
 * than none.
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#define ACCOUNTS		100000	/* rows of pgbench_accounts at scale 1 */
#define MAX_CLIENTS		64
#define MAX_SERVERS		8
#define WARMUP			10		/* statements of a block before its clock */

typedef struct Connection
{
	PGconn	   *pg;
	uint64_t	random;			/* state, so that each connection has its own */
	int			state_file;		/* see let_sleep(); -1: do not wait */
	clockid_t	backend_clock;	/* its processor time */
} Connection;

typedef void (*Workload) (Connection *connection, int count);

/* What one block took, in nanoseconds per statement */
typedef struct Timing
{
	double		elapsed;
	double		processor;		/* of the backends */
} Timing;

typedef struct Worker
{
	pthread_t	thread;
	Connection	connections[MAX_SERVERS];
	int64_t		start_ns;		/* of its latest block */
	int64_t		end_ns;
} Worker;

/*
 * What the workers of "time" do next.  Written by main() while all of them
 * wait at the barrier, which also makes it visible to them.
 */
static struct
{
	pthread_barrier_t barrier;
	Workload	workload;
	int			server;			/* -1: end */
	int			count;
}			block;

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

/*
 * splitmix64: a generator of one's own, because the sequence must be the same
 * for every server and every version of the C library.
 */
static uint64_t
random_next(uint64_t *state)
{
	uint64_t	z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int64_t
read_clock(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) != 0)
		die("time", "could not read a clock");
	return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Throws a result away, after seeing that the statement succeeded. */
static void
expect(PGconn * pg, PGresult * result, ExecStatusType status)
{
	if (PQresultStatus(result) != status)
		die("statement failed", PQerrorMessage(pg));
	PQclear(result);
}

/*
 * Waits until the backend has gone to sleep, as it does between the statements
 * of any client that does not hurry.  Else it would now and then find the next
 * statement there already, and save the instructions that sleeping takes: all
 * the more often the busier the machine is.
 */
static void
let_sleep(const Connection *connection)
{
	struct timespec moment = {0, 50000};
	char		text[64];
	ssize_t		length;
	const char *state;

	if (connection->state_file < 0)
		return;
	for (;;)
	{
		/* "pid (name) state ..."; a backend's name has no parenthesis */
		length = pread(connection->state_file, text, sizeof(text) - 1, 0);
		if (length <= 0)
			die("run", "could not read the backend's state");
		text[length] = '\0';
		state = strstr(text, ") ");
		if (state != NULL && state[2] == 'S')
			return;
		nanosleep(&moment, NULL);
	}
}

/* The statement of pgbench -S -M prepared. */
static void
run_select(Connection *connection, int count)
{
	char		aid[16];
	const char *params[1] = {aid};

	for (int i = 0; i < count; i++)
	{
		snprintf(aid, sizeof(aid), "%d",
				 (int) (random_next(&connection->random) % ACCOUNTS) + 1);
		let_sleep(connection);
		expect(connection->pg,
			   PQexecPrepared(connection->pg, "account", 1, params, NULL,
							  NULL, 0),
			   PGRES_TUPLES_OK);
	}
}

static void
run_one(Connection *connection, int count)
{
	for (int i = 0; i < count; i++)
	{
		let_sleep(connection);
		expect(connection->pg, PQexec(connection->pg, "SELECT 1"),
			   PGRES_TUPLES_OK);
	}
}

static void
run_nested(Connection *connection, int count)
{
	char		times[16];
	const char *params[1] = {times};

	snprintf(times, sizeof(times), "%d", count);
	expect(connection->pg,
		   PQexecPrepared(connection->pg, "nested", 1, params, NULL, NULL, 0),
		   PGRES_TUPLES_OK);
}

/* What an application with some routes records of its requests. */
static void
run_request(Connection *connection, int count)
{
	static const char *const methods[] = {"GET", "POST"};
	static const char *const statuses[] = {"200", "404", "500"};
	char		endpoint[64];
	char		duration[32];
	const char *params[4];

	for (int i = 0; i < count; i++)
	{
		uint64_t	random = random_next(&connection->random);

		snprintf(endpoint, sizeof(endpoint), "/api/v1/resource%d/{id}",
				 (int) (random % 40));
		snprintf(duration, sizeof(duration), "%.6f",
				 (double) (random % 100000) / 1000000);
		params[0] = methods[random / 64 % 2];
		params[1] = endpoint;
		params[2] = statuses[random / 128 % 3];
		params[3] = duration;
		expect(connection->pg,
			   PQexecPrepared(connection->pg, "request", 4, params, NULL,
							  NULL, 0),
			   PGRES_TUPLES_OK);
	}
}

static Workload
workload_by_name(const char *name)
{
	if (strcmp(name, "select") == 0)
		return run_select;
	if (strcmp(name, "one") == 0)
		return run_one;
	if (strcmp(name, "nested") == 0)
		return run_nested;
	if (strcmp(name, "request") == 0)
		return run_request;
	die("unknown workload", name);
	return NULL;
}

static int
positive(const char *text)
{
	int			number = atoi(text);

	if (number <= 0)
		die("not a positive number", text);
	return number;
}

/* Connects; seed says which sequence of statements this connection runs. */
static void
connection_open(Connection *connection, const char *conninfo, uint64_t seed)
{
	PGconn	   *pg = PQconnectdb(conninfo);

	if (PQstatus(pg) != CONNECTION_OK)
		die("could not connect", PQerrorMessage(pg));
	connection->pg = pg;
	connection->random = seed;
	connection->state_file = -1;
	if (clock_getcpuclockid(PQbackendPID(pg), &connection->backend_clock) != 0)
		die("could not find the backend", "the server is not on this machine");
}

static void
connection_prepare(Connection *connection, Workload workload)
{
	if (workload == run_request)
	{
		expect(connection->pg,
			   PQprepare(connection->pg, "request",
						 "SELECT record_http_request($1, $2, $3, $4)", 0,
						 NULL),
			   PGRES_COMMAND_OK);
		return;
	}
	expect(connection->pg,
		   PQprepare(connection->pg, "account",
					 "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
					 0, NULL),
		   PGRES_COMMAND_OK);
	expect(connection->pg,
		   PQprepare(connection->pg, "nested", "SELECT bench_nested($1)", 0,
					 NULL),
		   PGRES_COMMAND_OK);
}

/*---- run ----*/

static int
command_run(char **args)
{
	Workload	workload = workload_by_name(args[0]);
	int			count = positive(args[1]);
	Connection	connection;
	char		path[64];

	connection_open(&connection, args[2], 1);
	connection_prepare(&connection, workload);
	snprintf(path, sizeof(path), "/proc/%d/stat", PQbackendPID(connection.pg));
	connection.state_file = open(path, O_RDONLY);
	if (connection.state_file < 0)
		die(path, "could not be opened");
	workload(&connection, count);
	printf("%d\n", PQbackendPID(connection.pg));
	PQfinish(connection.pg);
	return 0;
}

/*---- time ----*/

static void *
worker_main(void *arg)
{
	Worker	   *worker = arg;

	for (;;)
	{
		Connection *connection;

		pthread_barrier_wait(&block.barrier);
		if (block.server < 0)
			return NULL;
		connection = &worker->connections[block.server];
		/* the last server's block has left the caches cold */
		block.workload(connection, WARMUP);
		pthread_barrier_wait(&block.barrier);
		/* main() reads the backends' clocks */
		pthread_barrier_wait(&block.barrier);
		worker->start_ns = read_clock(CLOCK_MONOTONIC);
		block.workload(connection, block.count);
		worker->end_ns = read_clock(CLOCK_MONOTONIC);
		pthread_barrier_wait(&block.barrier);
	}
}

/* Processor time that the backends of one server have used in their lives. */
static int64_t
processor_ns(int server, const Worker *workers, int clients)
{
	int64_t		ns = 0;

	for (int c = 0; c < clients; c++)
		ns += read_clock(workers[c].connections[server].backend_clock);
	return ns;
}

/* Runs one block, from the first worker's start to the last one's end. */
static Timing
run_block(int server, const Worker *workers, int clients)
{
	double		statements = (double) block.count * clients;
	int64_t		processor_start;
	int64_t		start = INT64_MAX;
	int64_t		end = 0;
	Timing		timing;

	block.server = server;
	pthread_barrier_wait(&block.barrier);
	pthread_barrier_wait(&block.barrier);
	processor_start = processor_ns(server, workers, clients);
	pthread_barrier_wait(&block.barrier);
	pthread_barrier_wait(&block.barrier);

	for (int c = 0; c < clients; c++)
	{
		if (workers[c].start_ns < start)
			start = workers[c].start_ns;
		if (workers[c].end_ns > end)
			end = workers[c].end_ns;
	}
	timing.elapsed = (double) (end - start) / statements;
	timing.processor = (double) (processor_ns(server, workers, clients) -
								 processor_start) / statements;
	return timing;
}

/* A new random order of the servers (Fisher-Yates). */
static void
shuffle(int *order, int count, uint64_t *random)
{
	for (int i = count - 1; i > 0; i--)
	{
		int			j = (int) (random_next(random) % (uint64_t) (i + 1));
		int			swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

static void
run_round(int servers, const Worker *workers, int clients, int *order,
		  uint64_t *random, Timing *timings)
{
	shuffle(order, servers, random);
	for (int i = 0; i < servers; i++)
		timings[order[i]] = run_block(order[i], workers, clients);
}

static int
command_time(char **args, int nargs)
{
	static Worker workers[MAX_CLIENTS];
	int			clients = positive(args[1]);
	int			rounds = positive(args[3]);
	uint64_t	random = (uint64_t) positive(args[4]);
	int			servers = nargs - 5;
	int			order[MAX_SERVERS];
	Timing		timings[MAX_SERVERS];

	if (clients > MAX_CLIENTS || servers > MAX_SERVERS)
		die("time", "too many clients or servers");
	block.workload = workload_by_name(args[0]);
	block.count = positive(args[2]);
	pthread_barrier_init(&block.barrier, NULL, (unsigned) clients + 1);

	for (int c = 0; c < clients; c++)
		for (int s = 0; s < servers; s++)
		{
			Connection *connection = &workers[c].connections[s];

			connection_open(connection, args[5 + s],
							random + (uint64_t) c);
			connection_prepare(connection, block.workload);
		}
	for (int c = 0; c < clients; c++)
		if (pthread_create(&workers[c].thread, NULL, worker_main,
						   &workers[c]) != 0)
			die("time", "could not create thread");

	for (int s = 0; s < servers; s++)
		order[s] = s;
	/* one round for the caches of the new backends */
	run_round(servers, workers, clients, order, &random, timings);
	for (int r = 0; r < rounds; r++)
	{
		run_round(servers, workers, clients, order, &random, timings);
		for (int s = 0; s < servers; s++)
			printf("%.1f\t", timings[s].elapsed);
		for (int s = 0; s < servers; s++)
			printf("%.1f%c", timings[s].processor,
				   s == servers - 1 ? '\n' : '\t');
	}

	block.server = -1;
	pthread_barrier_wait(&block.barrier);
	for (int c = 0; c < clients; c++)
	{
		pthread_join(workers[c].thread, NULL);
		for (int s = 0; s < servers; s++)
			PQfinish(workers[c].connections[s].pg);
	}
	return 0;
}

/*---- memory ----*/

/*
 * Bytes of memory that are this process's alone.  Not smaps_rollup: a page of
 * shared memory that only one process has touched yet counts as private
 * there.  So sum over the mappings that are private by their flags ("rw-p").
 */
static long
private_bytes(int pid)
{
	char		path[64];
	char		line[4096];
	bool		private_mapping = false;
	long		kilobytes = 0;
	FILE	   *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	file = fopen(path, "r");
	if (file == NULL)
		die(path, "could not be opened");
	while (fgets(line, sizeof(line), file) != NULL)
	{
		char		flags[5];
		long		number;

		if (sscanf(line, "%*x-%*x %4s", flags) == 1)
			private_mapping = flags[3] == 'p';
		else if (private_mapping &&
				 sscanf(line, "Private_Dirty: %ld kB", &number) == 1)
			kilobytes += number;
	}
	fclose(file);
	return kilobytes * 1024;
}

/*
 * The nth of many statements with different query identifiers.  The
 * identifier ignores the values of constants but not their types, so n is
 * written in the base of types[], one constant per digit.
 */
static void
distinct_statement(int n, char *statement, size_t size)
{
	static const char *const types[] = {
		"int2", "int4", "int8", "float4", "float8",
		"numeric", "text", "varchar", "bpchar", "money"
	};
	size_t		used;

	used = (size_t) snprintf(statement, size, "SELECT true");
	for (int digit = 0; digit < 6; digit++, n /= 10)
		used += (size_t) snprintf(statement + used, size - used, ", '1'::%s",
								  types[n % 10]);
}

static int
command_memory(char **args)
{
	int			count = positive(args[0]);
	Connection	connection;
	char		statement[256];
	long		before;

	connection_open(&connection, args[1], 1);
	before = private_bytes(PQbackendPID(connection.pg));
	for (int n = 0; n < count; n++)
	{
		distinct_statement(n, statement, sizeof(statement));
		expect(connection.pg, PQexec(connection.pg, statement),
			   PGRES_TUPLES_OK);
	}
	printf("%ld\n", private_bytes(PQbackendPID(connection.pg)) - before);
	PQfinish(connection.pg);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "run") == 0)
		return command_run(argv + 2);
	if (argc >= 8 && strcmp(argv[1], "time") == 0)
		return command_time(argv + 2, argc - 2);
	if (argc == 4 && strcmp(argv[1], "memory") == 0)
		return command_memory(argv + 2);
	die("client", "usage: client run|time|memory ...");
	return 1;
}
