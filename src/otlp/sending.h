/*-------------------------------------------------------------------------
 *
 * sending.h
 *	  When which spans are sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_SENDING_H
#define FRAISEQL_OBS_OTLP_SENDING_H

#include "otlp_sender.h"

extern void fobs_sending_init(const FobsOtlpSender *sender);
extern void fobs_sending_configure(void);
extern void fobs_sending_go_on(void);

#endif							/* FRAISEQL_OBS_OTLP_SENDING_H */
