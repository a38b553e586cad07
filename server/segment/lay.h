/* Where prompts lie on a series: in pixels of its slices, whatever they were drawn on. */
#ifndef SRV_SEGMENT_LAY_H
#define SRV_SEGMENT_LAY_H

#include "server/segment/segment.h"

typedef struct srv_laid {
    msa_prompt *prompts; /* (n), those of one DICOM prompt together and in the order of slices */
    size_t n, room;
    size_t *first; /* (request->n_prompts + 1): DICOM prompt i is prompts[first[i]] .. prompts[first[i + 1] -
                      1] */
    uint8_t *slices; /* (slices of the series) 1: a key image; NULL: there are none */
    uint8_t **masks; /* (n_masks), what mask prompts point to */
    size_t n_masks, masks_room;
    size_t n_left_out; /* DICOM prompts that could not be used */
    char why[160];     /* the first reason, a sentence without a full stop; "" when all were usable */
} srv_laid;

/**
 * A box or point on an image lies there, by instance and frame, or by the number of the slice. In space:
 * - a box prompts every slice whose plane it crosses, with the bounding rectangle of its cut through that
 *   plane (which is the box itself where the slices lie along its sides); one that lies between two slices,
 * or is flat, belongs to the nearest within half a step;
 * - a point belongs to the nearest slice within half a step;
 * - an area (SEG, RTSTRUCT, polygon in space) is, on each slice that it covers, a box around each connected
 *   part, as `msa eval` draws them; or itself, to be refined, where the prompt's rule says `regions: mask`.
 * What lies outside the volume or the image, is empty or not finite, or cannot be read is left out and
 * counted: one bad box among many must not cost the radiologist the others. Key images prompt nothing.
 *
 * Errors: MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_laid_new(srv_laid **out, const srv_segment_request *request, msa_error *err);
void srv_laid_free(srv_laid *l);
MSA_DEFINE_AUTO(srv_laid, srv_laid_free);

/* ---- between lay.c and lay_regions.c ---- */

MSA_NODISCARD msa_status srv_laid_add(srv_laid *l, const msa_prompt *p, msa_error *err);

/* The files that areas lie in, each read once. */
typedef struct srv_region_files srv_region_files;
void srv_region_files_free(srv_region_files *f);
MSA_DEFINE_AUTO(srv_region_files, srv_region_files_free);
/* Prompt i, an area. *files is made when it is NULL. why ("": all is well) is why it cannot be used. */
MSA_NODISCARD msa_status srv_laid_add_region(srv_laid *l, const srv_segment_request *request, size_t i,
                                             srv_region_files **files, char why[160], msa_error *err);

#endif
