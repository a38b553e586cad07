/* What the DICOM part takes, makes and answers, read off the tables and predicates that decide: for the
 * conformance statement. Callbacks are called on the caller's thread. */
#ifndef DICOM_CONFORMANCE_H
#define DICOM_CONFORMANCE_H

#include <stdbool.h>

#include "dicom/init.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void dicom_uid_fn(void *ctx, const char *uid, const char *name);

/* Storage SOP Classes that are accepted: images, or annotations. In the order of their names. */
void dicom_each_taken_class(bool annotations, dicom_uid_fn *each, void *ctx);
/* Transfer syntaxes that are accepted, in the order of preference. */
void dicom_each_taken_syntax(dicom_uid_fn *each, void *ctx);
/* SOP Classes of the objects that are made and sent. */
void dicom_each_made_class(dicom_uid_fn *each, void *ctx);

/* Statuses of a C-STORE response that is received: what each means and what is done (dicom_delivery). */
typedef void dicom_status_fn(void *ctx, unsigned status, const char *meaning, int outcome);
void dicom_each_answer(dicom_status_fn *each, void *ctx);
long dicom_pdu_max(void); /* largest PDU that is received, in bytes */
/* The status that is answered where storing ended so. */
unsigned dicom_status_of(msa_status status);

#ifdef __cplusplus
}
#endif
#endif
