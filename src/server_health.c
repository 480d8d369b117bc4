/*-------------------------------------------------------------------------
 *
 * server_health.c
 *	  The verdict of the health checks, and the space on disks that only they
 *	  look at.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "health_facts.h"
#include "server.h"

static const FobsFamily ready_family = {
	"fraiseql_obs_ready", FOBS_GAUGE, NULL,
	"1 if clients should be sent to this server, as readiness() says, 0 if not."
};
static const FobsFamily health_family = {
	"fraiseql_obs_health", FOBS_GAUGE, NULL,
	"What each health check says: 0 healthy, 1 degraded, 2 unhealthy."
};
static const FobsFamily disk_size_family = {
	"fraiseql_obs_disk_size_bytes", FOBS_GAUGE, "bytes",
	"Size of the file system of a directory of the server, without what is set aside for root."
};
static const FobsFamily disk_available_family = {
	"fraiseql_obs_disk_available_bytes", FOBS_GAUGE, "bytes",
	"Space that is left for the server on the file system of one of its directories."
};

/* Writes one fact about the file systems, if it is known. */
static void
write_disks(FobsWriter *writer, const FobsFamily *family, double data,
			double wal)
{
	fobs_write_family(writer, family);
	if (!isnan(data))
		fobs_server_write_labelled(writer, "directory", "data", data);
	if (!isnan(wal))
		fobs_server_write_labelled(writer, "directory", "wal", wal);
}

void
fobs_server_health_write(FobsWriter *writer)
{
	FobsHealthQuestion question = {FOBS_ROLE_ANY, -1};
	FobsHealthFacts facts;
	FobsVerdict verdict;

	fobs_health_read(&facts);
	fobs_health_judge(&facts, &fobs_health_limits, &question, &verdict);

	fobs_server_write_single(writer, &ready_family,
							 fobs_health_passes(FOBS_PROBE_READINESS, &facts,
												&verdict));
	fobs_write_family(writer, &health_family);
	for (int i = 0; i < FOBS_N_CHECKS; i++)
		fobs_server_write_labelled(writer, "check", fobs_check_names[i],
								   verdict.checks[i]);
	write_disks(writer, &disk_size_family, facts.values[FOBS_FACT_DATA_SIZE],
				facts.values[FOBS_FACT_WAL_SIZE]);
	write_disks(writer, &disk_available_family,
				facts.values[FOBS_FACT_DATA_AVAILABLE],
				facts.values[FOBS_FACT_WAL_AVAILABLE]);
}
