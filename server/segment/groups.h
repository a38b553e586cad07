/* Objects of one job that need different models: each model sees its own. */
#ifndef SRV_SEGMENT_GROUPS_H
#define SRV_SEGMENT_GROUPS_H

#include "server/segment/objects.h"

/* models (objects->n) out: the model of each object. */
void srv_groups_choose(const msa_model **models, const srv_segment_request *request,
                       const srv_objects *objects);

/**
 * msa_segment() over the objects of each model, in the order in which models first appear. results
 * (objects->n) in the order of the objects. Progress counts slices over all groups, those to come guessed
 * from the one at hand. Errors: as msa_segment().
 */
MSA_NODISCARD msa_status srv_groups_segment(const srv_segment_request *request, const msa_volume *volume,
                                            const srv_objects *objects, const msa_model *const *models,
                                            msa_object_result *results, msa_error *err);

#endif
