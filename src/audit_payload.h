/*-------------------------------------------------------------------------
 *
 * audit_payload.h
 *	  An operation of the audit log in a bounded piece of memory.
 *
 * See audit_payload.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_PAYLOAD_H
#define FOBS_AUDIT_PAYLOAD_H

#include "audit_log.h"

/* Bytes that an operation may have */
#define FOBS_PAYLOAD_SIZE	2048

typedef struct FobsPayload
{
	uint16		size;			/* bytes in use */
	char		data[FOBS_PAYLOAD_SIZE];
} FobsPayload;

extern bool fobs_payload_fit(const Operation *operation, Operation *fitted);
extern void fobs_payload_write(FobsPayload *payload, const Operation *fitted);
extern void fobs_payload_add(FobsPayload *payload, Argument argument,
							 const void *bytes, size_t size);
extern void fobs_payload_add_number(FobsPayload *payload, Argument argument,
									Datum value);
extern void fobs_payload_read(const FobsPayload *payload,
							  Operation *operation);

#endif							/* FOBS_AUDIT_PAYLOAD_H */
