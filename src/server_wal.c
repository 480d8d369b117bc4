/*-------------------------------------------------------------------------
 *
 * server_wal.c
 *	  The write-ahead log, and who writes buffers: checkpoints, background
 *	  writer, archiver.
 *
 * What waits in pg_wal is counted by the names of its files; nothing is opened
 * or asked for its size, as all segments have the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "storage/fd.h"

#include "compat.h"
#include "server.h"
#include "server_statistics.h"

static const FobsFamily wal_records_family = {
	"fraiseql_obs_wal_records_total", FOBS_COUNTER, NULL,
	"Records written to the write-ahead log."
};
static const FobsFamily wal_images_family = {
	"fraiseql_obs_wal_full_page_images_total", FOBS_COUNTER, NULL,
	"Full page images written to the write-ahead log."
};
static const FobsFamily wal_bytes_family = {
	"fraiseql_obs_wal_bytes_total", FOBS_COUNTER, "bytes",
	"Bytes written to the write-ahead log."
};
static const FobsFamily checkpoints_family = {
	"fraiseql_obs_checkpoints_total", FOBS_COUNTER, NULL,
	"Checkpoints by their cause: checkpoint_timeout or a request."
};
static const FobsFamily checkpoint_write_family = {
	"fraiseql_obs_checkpoint_write_seconds_total", FOBS_COUNTER, "seconds",
	"Time that checkpoints spent on writing files."
};
static const FobsFamily checkpoint_sync_family = {
	"fraiseql_obs_checkpoint_sync_seconds_total", FOBS_COUNTER, "seconds",
	"Time that checkpoints spent on synchronizing files to disk."
};
static const FobsFamily checkpoint_buffers_family = {
	"fraiseql_obs_checkpoint_buffers_written_total", FOBS_COUNTER, NULL,
	"Shared buffers written by checkpoints."
};
static const FobsFamily wal_buffers_full_family = {
	"fraiseql_obs_wal_buffers_full_total", FOBS_COUNTER, NULL,
	"Times that the write-ahead log was written because its buffers were full."
};
static const FobsFamily wal_position_family = {
	"fraiseql_obs_wal_position_bytes", FOBS_GAUGE, "bytes",
	"Position in the write-ahead log: where a primary writes, what a standby has replayed."
};
static const FobsFamily wal_segments_family = {
	"fraiseql_obs_wal_segments", FOBS_GAUGE, NULL,
	"Segments of the write-ahead log in pg_wal."
};
static const FobsFamily wal_size_family = {
	"fraiseql_obs_wal_size_bytes", FOBS_GAUGE, "bytes",
	"Size of the segments of the write-ahead log in pg_wal."
};
static const FobsFamily bgwriter_buffers_family = {
	"fraiseql_obs_bgwriter_buffers_written_total", FOBS_COUNTER, NULL,
	"Shared buffers written by the background writer."
};
static const FobsFamily bgwriter_stops_family = {
	"fraiseql_obs_bgwriter_stops_total", FOBS_COUNTER, NULL,
	"Rounds that the background writer stopped because it had written bgwriter_lru_maxpages."
};
static const FobsFamily buffers_allocated_family = {
	"fraiseql_obs_buffers_allocated_total", FOBS_COUNTER, NULL,
	"Shared buffers that were allocated."
};
static const FobsFamily archived_family = {
	"fraiseql_obs_archived_segments_total", FOBS_COUNTER, NULL,
	"Files of the write-ahead log that were archived."
};
static const FobsFamily archive_failures_family = {
	"fraiseql_obs_archive_failures_total", FOBS_COUNTER, NULL,
	"Attempts to archive a file of the write-ahead log that failed."
};
static const FobsFamily archive_waiting_family = {
	"fraiseql_obs_archive_waiting_segments", FOBS_GAUGE, NULL,
	"Files of the write-ahead log that wait to be archived."
};
static const FobsFamily archived_at_family = {
	"fraiseql_obs_archived_timestamp_seconds", FOBS_GAUGE, "seconds",
	"When a file of the write-ahead log was last archived, in Unix time."
};
static const FobsFamily archive_failed_at_family = {
	"fraiseql_obs_archive_failed_timestamp_seconds", FOBS_GAUGE, "seconds",
	"When archiving a file of the write-ahead log last failed, in Unix time."
};

static bool
is_ready(const char *name)
{
	size_t		length = strlen(name);

	return length > strlen(".ready") &&
		strcmp(name + length - strlen(".ready"), ".ready") == 0;
}

static bool
is_segment(const char *name)
{
	return IsXLogFileName(name) || IsPartialXLogFileName(name);
}

/* How many files of a directory have such a name? */
static int
count_files(const char *directory, bool (*is_wanted) (const char *name))
{
	DIR		   *dir = AllocateDir(directory);
	struct dirent *entry;
	int			n = 0;

	while ((entry = ReadDirExtended(dir, directory, DEBUG1)) != NULL)
	{
		if (is_wanted(entry->d_name))
			n++;
	}
	FreeDir(dir);
	return n;
}

static void
write_wal(FobsWriter *writer, const PgStat_WalStats *wal, bool in_recovery)
{
	int			segments = count_files(XLOGDIR, is_segment);
	XLogRecPtr	position = in_recovery ? GetXLogReplayRecPtr(NULL) :
	GetXLogInsertRecPtr();

	fobs_server_write_single(writer, &wal_records_family,
							 PGSTAT_WAL_FIELD(wal, wal_records));
	fobs_server_write_single(writer, &wal_images_family,
							 PGSTAT_WAL_FIELD(wal, wal_fpi));
	fobs_server_write_single(writer, &wal_bytes_family,
							 PGSTAT_WAL_FIELD(wal, wal_bytes));
	fobs_server_write_single(writer, &wal_buffers_full_family,
							 PGSTAT_WAL_FIELD(wal, wal_buffers_full));
	if (!XLogRecPtrIsInvalid(position))
		fobs_server_write_single(writer, &wal_position_family, position);
	fobs_server_write_single(writer, &wal_segments_family, segments);
	fobs_server_write_single(writer, &wal_size_family,
							 (double) segments * wal_segment_size);
}

static void
write_checkpoints(FobsWriter *writer, const PgStat_CheckpointerStats *stats)
{
	fobs_write_family(writer, &checkpoints_family);
	fobs_server_write_labelled(writer, "cause", "timed", stats->num_timed);
	fobs_server_write_labelled(writer, "cause", "requested",
							   stats->num_requested);

	/* core has milliseconds */
	fobs_server_write_single(writer, &checkpoint_write_family,
							 stats->write_time / 1e3);
	fobs_server_write_single(writer, &checkpoint_sync_family,
							 stats->sync_time / 1e3);
	fobs_server_write_single(writer, &checkpoint_buffers_family,
							 stats->buffers_written);
}

static void
write_bgwriter(FobsWriter *writer, const PgStat_BgWriterStats *stats)
{
	fobs_server_write_single(writer, &bgwriter_buffers_family,
							 stats->buf_written_clean);
	fobs_server_write_single(writer, &bgwriter_stops_family,
							 stats->maxwritten_clean);
	fobs_server_write_single(writer, &buffers_allocated_family,
							 stats->buf_alloc);
}

/* When something last happened; nothing if it never has */
static void
write_time(FobsWriter *writer, const FobsFamily *family, TimestampTz time)
{
	if (time != 0)
		fobs_server_write_single(writer, family, fobs_unix_time(time));
}

/* Where nothing is archived, there is nothing to tell. */
static void
write_archiver(FobsWriter *writer, const PgStat_ArchiverStats *stats)
{
	if (!XLogArchivingActive())
		return;
	fobs_server_write_single(writer, &archived_family, stats->archived_count);
	fobs_server_write_single(writer, &archive_failures_family,
							 stats->failed_count);
	fobs_server_write_single(writer, &archive_waiting_family,
							 count_files(XLOGDIR "/archive_status", is_ready));
	write_time(writer, &archived_at_family, stats->last_archived_timestamp);
	write_time(writer, &archive_failed_at_family,
			   stats->last_failed_timestamp);
}

void
fobs_server_wal_write(FobsWriter *writer, const FobsServer *server)
{
	FobsStatistics *statistics = palloc(sizeof(FobsStatistics));

	fobs_statistics_read_single(statistics);
	write_wal(writer, &statistics->wal, server->in_recovery);
	write_checkpoints(writer, &statistics->checkpointer);
	write_bgwriter(writer, &statistics->bgwriter);
	write_archiver(writer, &statistics->archiver);
	pfree(statistics);
}
