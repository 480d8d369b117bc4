/*-------------------------------------------------------------------------
 *
 * server.h
 *	  The families about the server, by what they are about.
 *
 * collector.c says what holds for all of them; each is explained in its file.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SERVER_H
#define FRAISEQL_OBS_SERVER_H

#include "datatype/timestamp.h"

#include "counters.h"
#include "exposition.h"
#include "server_horizons.h"

/* What all of them look at, in one scrape */
typedef struct FobsServer
{
	TimestampTz now;
	bool		in_recovery;
	FobsHorizons horizons;

	/* the databases that counters.c tells apart */
	int			ndatabases;
	char		names[FOBS_MAX_DATABASES][FOBS_DATNAME_SIZE];
	Oid			oids[FOBS_MAX_DATABASES];
} FobsServer;

/* collector.c */
extern int	fobs_server_database(const FobsServer *server, Oid oid);
extern void fobs_server_write_single(FobsWriter *writer,
									 const FobsFamily *family, double value);
extern void fobs_server_write_labelled(FobsWriter *writer, const char *name,
									   const char *value, double sample);

extern void fobs_server_activity_write(FobsWriter *writer,
									   const FobsServer *server);
extern void fobs_server_databases_shmem_request(void);
extern void fobs_server_databases_shmem_startup(void);
extern void fobs_server_databases_write(FobsWriter *writer,
										const FobsServer *server);
extern void fobs_server_health_write(FobsWriter *writer);
extern void fobs_server_horizons_write(FobsWriter *writer,
									   const FobsServer *server);
extern void fobs_server_locks_write(FobsWriter *writer,
									const FobsServer *server);
extern void fobs_server_replication_write(FobsWriter *writer,
										  const FobsServer *server);
extern void fobs_server_settings_write(FobsWriter *writer);
extern void fobs_server_slots_write(FobsWriter *writer,
									const FobsServer *server);
extern void fobs_server_wal_write(FobsWriter *writer,
								  const FobsServer *server);

#endif							/* FRAISEQL_OBS_SERVER_H */
