/* What `msa segment` found, as JSON. */
#ifndef SRV_TOOL_SEGMENT_JSON_H
#define SRV_TOOL_SEGMENT_JSON_H

#include "server/segment/segment.h"

/* path: "-" for standard output. Segments are written as GET /v1/jobs/{id} has them. Errors: MSA_E_IO. */
MSA_NODISCARD msa_status srv_segment_json_write(const char *path, const srv_segment_outcome *o,
                                                const msa_model *model, const char *out_dir, msa_error *err);

#endif
