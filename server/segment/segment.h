/* Files and prompts in, SEG and preview out: what a work role does for a job, and `msa segment` without a
 * network. */
#ifndef SRV_SEGMENT_SEGMENT_H
#define SRV_SEGMENT_SEGMENT_H

#include <stdatomic.h>
#include <stddef.h>

#include "dicom/annotation.h"
#include "dicom/report.h"
#include "dicom/seg.h"
#include "dicom/series.h"
#include "dicom/structure_set.h"
#include "engine/automatic.h"
#include "engine/base/hash.h"
#include "engine/segmenter.h"
#include "server/core/forms.h"
#include "server/segment/models.h"

typedef struct srv_segment_request {
    const dicom_series *series; /* borrowed */
    /* On this series; prompts of one label are one object, in order of first appearance. */
    const dicom_prompt *prompts;
    size_t n_prompts;
    /* (n_prompts): the annotation object that each came from, needed by areas; NULL, or NULL in it: none. */
    const char *const *prompt_files;
    const msa_model *model;
    /* (n_prompts): the model of each, where labels need different ones: an object's is that of the prompt it
     * begins with. NULL: `model` for all. */
    const msa_model *const *prompt_models;
    /* What names objects, each by the rule of the prompt it begins with: default labels and codes. NULL:
     * nothing does. */
    const srv_rule *rule;
    const srv_rule *const *prompt_rules; /* (n_prompts) */
    bool by_itself;                      /* nobody prompted: `prompts`, if any, are the rule's own */
    const msa_auto_options *automatic;   /* not NULL: without prompts, what `model` finds by itself */
    const char *key;                     /* UIDs derive from it */
    /* Exists; gets seg.dcm, seg-2.dcm, ... (form2.dcm, ... in a second form), report.dcm, preview.png,
     * slices.png and overlay-NNN.png when slice_sheet and overlays are set. */
    const char *out_dir;
    int32_t series_number;
    const char *series_description; /* " (untrained model)" is appended when the model is untrained */
    const dicom_seg_form *forms;    /* a result is written in each; n_forms 0: in the usual one */
    int32_t n_forms;
    bool slice_sheet; /* slices.png: key slices for the dashboard */
    bool overlays; /* one PNG per slice that holds a mask or a prompt */
    bool report;   /* report.dcm beside it: what was measured, or that nothing was found */
    bool contours; /* structure-set.dcm: the masks as contours, where something was found */
    bool captures; /* capture-1.dcm, ...: key slices as secondary captures, where something was found */
    msa_embedding_cache *cache; /* NULL: none beyond this call */
    const atomic_bool *cancel;
    msa_progress_fn *progress;
    void *progress_ctx;
} srv_segment_request;

#define SRV_SEGMENTS_MAX 256

typedef struct srv_segment_stat {
    char label[DICOM_LABEL_MAX];
    int64_t voxels;
    double mean_iou;         /* predicted, over the decoded slices */
    dicom_measures measures; /* zero where there is no voxel */
    int32_t first_slice, last_slice;
    msa_candidates candidates;
    char note[128];
} srv_segment_stat;

typedef struct srv_segment_outcome {
    dicom_seg_file files[SRV_FILES_MAX];
    int32_t form[SRV_FILES_MAX]; /* which of the request's forms each file is */
    size_t n_files;              /* 0: nothing found */
    dicom_seg_file report;       /* name "": none was asked for */
    dicom_seg_file contours;     /* the same */
    dicom_seg_file captures[SRV_CAPTURES_MAX];
    size_t n_captures;
    srv_segment_stat stats[SRV_SEGMENTS_MAX];
    size_t n_stats;
    char warnings[512]; /* geometry that was noticed, prompts that could not be used; "; "-joined sentences */
} srv_segment_outcome;

/* Errors: as msa_segment() and dicom_seg_write(); MSA_E_NOT_FOUND never (nothing found is n_files 0).
 * MSA_E_INVALID: no usable prompt. */
MSA_NODISCARD msa_status srv_segment_run(const srv_segment_request *request, srv_segment_outcome *outcome,
                                         msa_error *err);
#endif
