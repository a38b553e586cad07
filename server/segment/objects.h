/* DICOM prompts on a series to labelled objects of the engine. */
#ifndef SRV_SEGMENT_OBJECTS_H
#define SRV_SEGMENT_OBJECTS_H

#include "server/segment/segment.h"

typedef struct srv_objects {
    size_t n;
    msa_object *objects;   /* (n) */
    dicom_segment *names;  /* (n): label, tracking and codes filled in, no mask */
    size_t *origin;        /* (n): the prompt, by its index, that each object began with */
    msa_prompt *prompts;   /* all of them; objects point into it */
    struct srv_laid *laid; /* what they point to: masks, key images */
    size_t n_left_out;     /* prompts that could not be used */
    char why[160];         /* the first reason, a sentence without a full stop; "" when all were usable */
} srv_objects;

/**
 * The request's prompts on its series (server/segment/lay.h), as objects. Prompts of one label are one
 * object, in order of first appearance; label "" is "Object". Regions that nobody named are told apart by
 * annotation: two of two reports must not become one object, with masks between them on slices that nobody
 * pointed at.
 *
 * Where prompts of one label disagree:
 * - the same prompt again, from whatever annotation, counts once;
 * - different boxes, areas or masks on one slice all count: the object is their union (engine/volume/plan.h);
 * - a positive and a negative point at one place say nothing: both are left out;
 * - background points alone segment nothing: they are left out;
 * - key images win: nothing is found on other slices, also where a prompt lies there;
 * - codes and site come from the first prompt that has them; tracking only when all prompts of the label
 * agree, since it would otherwise claim to be another's lesion; the model is that of the first prompt.
 *
 * Errors: MSA_E_INVALID (no usable prompt: the sentence says why; more than SRV_SEGMENTS_MAX labels),
 * MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_objects_new(srv_objects **out, const srv_segment_request *request,
                                         msa_error *err);
void srv_objects_free(srv_objects *o);
MSA_DEFINE_AUTO(srv_objects, srv_objects_free);

/* "Object 3": the number that a reader of annotations gives to what has no name (dicom/annot/). */
bool srv_label_is_invented(const char *label);

#endif
