/*-------------------------------------------------------------------------
 *
 * server_settings.c
 *	  Settings of the server that explain its numbers.
 *
 * They are what sessions start with: what this one has SET does not count.
 * Sizes are in bytes, times in seconds, switches 0 or 1.  What a setting has
 * for "none" or "no limit", mostly -1 or 0, is left as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "server.h"

#define KB	1024.0
#define MB	(1024.0 * 1024.0)

/* In units of what core counts them in */
static const struct
{
	const char *name;
	double		unit;
}			settings[] =

{
	{"autovacuum", 1},
	{"autovacuum_freeze_max_age", 1},
	{"autovacuum_max_workers", 1},
	{"autovacuum_multixact_freeze_max_age", 1},
	{"checkpoint_timeout", 1},
	{"effective_cache_size", BLCKSZ},
	{"fsync", 1},
	{"full_page_writes", 1},
	{"idle_in_transaction_session_timeout", 0.001},
	{"maintenance_work_mem", KB},
	{"max_connections", 1},
	{"max_locks_per_transaction", 1},
	{"max_parallel_workers", 1},
	{"max_prepared_transactions", 1},
	{"max_replication_slots", 1},
	{"max_slot_wal_keep_size", MB},
	{"max_wal_senders", 1},
	{"max_wal_size", MB},
	{"max_worker_processes", 1},
	{"min_wal_size", MB},
	{"random_page_cost", 1},
	{"shared_buffers", BLCKSZ},
	{"statement_timeout", 0.001},
	{"superuser_reserved_connections", 1},
	{"track_io_timing", 1},
	{"vacuum_failsafe_age", 1},
	{"wal_keep_size", MB},
	{"work_mem", KB}
};

static const FobsFamily setting_family = {
	"fraiseql_obs_setting", FOBS_GAUGE, NULL,
	"Settings of the server, in bytes, seconds, or 0 and 1 for off and on."
};
static const FobsFamily start_family = {
	"fraiseql_obs_start_timestamp_seconds", FOBS_GAUGE, "seconds",
	"When the server started, in Unix time."
};

void
fobs_server_settings_write(FobsWriter *writer)
{
	fobs_write_family(writer, &setting_family);
	for (int i = 0; i < lengthof(settings); i++)
	{
		const char *text = GetConfigOptionResetString(settings[i].name);
		bool		on;
		double		value;

		if (!parse_bool(text, &on))
			value = strtod(text, NULL);
		else
			value = on;
		if (value > 0)
			value *= settings[i].unit;
		fobs_server_write_labelled(writer, "name", settings[i].name, value);
	}
	fobs_server_write_single(writer, &start_family,
							 fobs_unix_time(PgStartTime));
}
