/* A model of several classes gives one object a mask of each. */
#ifndef SRV_SEGMENT_CLASSES_H
#define SRV_SEGMENT_CLASSES_H

#include "server/segment/objects.h"

/**
 * Replaces every object whose model has several classes by one for each, "LABEL class 1" and so on, which
 * share its prompts. Tracking stays with none of them: it names one lesion. Errors: MSA_E_INVALID (more than
 * SRV_SEGMENTS_MAX), MSA_E_NOMEM; o is then as before.
 */
MSA_NODISCARD msa_status srv_classes_expand(srv_objects *o, const srv_segment_request *request,
                                            msa_error *err);

#endif
