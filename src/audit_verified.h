/*-------------------------------------------------------------------------
 *
 * audit_verified.h
 *	  What a verification of the audit log has come to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_VERIFIED_H
#define FRAISEQL_OBS_AUDIT_VERIFIED_H

#include "audit_verify.h"

extern void fobs_audit_note_verification(const Verifier *verifier,
										 const Checkpoint *anchor);

#endif							/* FRAISEQL_OBS_AUDIT_VERIFIED_H */
