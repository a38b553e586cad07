/* Arguments of `msa segment`. */
#ifndef SRV_TOOL_ARGUMENTS_H
#define SRV_TOOL_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "dicom/annotation.h"
#include "dicom/seg.h"
#include "engine/automatic.h"
#include "engine/precision.h"

typedef struct srv_segment_arguments {
    const char *series_dir, *out_dir;
    const char *model;        /* "" for the bundled one */
    const char *adapter;      /* "": where the model is the bundled one, that for the series' modality */
    const char **annotations; /* (n_annotations) */
    size_t n_annotations;
    dicom_prompt *boxes; /* (n_boxes), from --box, in order */
    size_t n_boxes;
    bool automatic, tuned; /* --auto; one of the options that need it */
    msa_auto_options automatic_options;
    const char *json;                           /* NULL; a file, or "-": what was found, as JSON */
    const char *cache;                          /* NULL; a folder of embeddings */
    const char *format, *profile, *compression; /* NULL: the usual; in words, and what they make */
    bool empty_frames, no_report, contours, captures;
    dicom_seg_form form;
    msa_precision precision;
    int threads; /* 0: one a core */
    bool help;
} srv_segment_arguments;

extern const char srv_segment_usage[];

/* Returns 0, or the exit code after the sentence has been printed. `a` is to be cleared in either case. */
int srv_segment_arguments_read(srv_segment_arguments *a, int argc, char **argv);
void srv_segment_arguments_clear(srv_segment_arguments *a);

/* One of the options of --auto, its name without the dashes. 0, or the exit code after the sentence has been
 * printed.
 */
int srv_auto_argument(msa_auto_options *options, const char *name, const char *text);

/**
 * "x0,y0,x1,y1@SLICE" or "...@SLICE=LABEL". Errors: MSA_E_INVALID with one sentence.
 * Coordinates are DICOM's, (0,0) the outer corner of the first pixel; SLICE counts from 0 along the normal.
 */
MSA_NODISCARD msa_status srv_box_parse(dicom_prompt *out, const char *text, msa_error *err);

#endif
