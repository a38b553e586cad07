/* DICOM Segmentation objects (PS3.3 A.51, C.8.20): binary, fractional, label map. */
#ifndef DICOM_SEG_H
#define DICOM_SEG_H

#include "dicom/annotation.h"
#include "dicom/series.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Slices and rows, each from the first on and before the end. */
typedef struct dicom_extent {
    int32_t first_slice, end_slice, first_row, end_row;
} dicom_extent;

typedef struct dicom_segment {
    const uint8_t *mask; /* (slices, rows, cols) of the series' volume, 0 or 1 */
    dicom_extent extent; /* nobody looks for a pixel of the mask outside; all 0: anywhere */
    /* The same shape, 255 is certain; only fractional objects hold it, on the slices where the mask has a
     * pixel. NULL: 255 where the mask is 1. */
    const uint8_t *probability;
    char label[DICOM_LABEL_MAX];
    char tracking_id[DICOM_LABEL_MAX], tracking_uid[DICOM_UID_MAX]; /* uid "": derived */
    dicom_code category, type, site; /* value "": category and type become Tissue (85756007 SCT), no site */
    bool automatic;                  /* SegmentAlgorithmType AUTOMATIC instead of SEMIAUTOMATIC */
    const char *model_name, *model_version, *model_hash; /* what made it; name NULL: that of the options */
} dicom_segment;

typedef enum dicom_seg_format {
    DICOM_SEG_BINARY = 0,     /* a bit for each pixel; what every reader of SEG takes */
    DICOM_SEG_FRACTIONAL = 1, /* a byte: PROBABILITY where a segment has some, else OCCUPANCY; maximum 255 */
    DICOM_SEG_LABELMAP =
        2, /* Label Map Segmentation Storage: one frame a slice, the segment's number in it */
} dicom_seg_format;

/* What a viewer needs beyond the standard; docs/seg.md says why. */
typedef enum dicom_seg_profile {
    DICOM_SEG_STRICT = 0, /* one series, segments that overlap in further instances of it */
    DICOM_SEG_OHIF = 1,   /* a series for each instance: of several in a series it opens the last */
    DICOM_SEG_SLICER = 2, /* one instance, segments may overlap in it; not for label maps */
    DICOM_SEG_WEASIS = 3, /* at most 400 frames an instance, unless one segment has more */
} dicom_seg_profile;

typedef enum dicom_seg_compression {
    DICOM_SEG_NONE = 0,    /* Explicit VR Little Endian */
    DICOM_SEG_RLE = 1,     /* RLE Lossless; not for binary */
    DICOM_SEG_DEFLATE = 2, /* Deflated Explicit VR Little Endian */
} dicom_seg_compression;

/* In which form a result is written; all zero is the usual one. */
typedef struct dicom_seg_form {
    int32_t format, profile, compression; /* of the enums above */
    int32_t empty_frames; /* 1: a frame for every slice of the series and segment, for readers that count */
} dicom_seg_form;

/* "binary", "labelmap-ohif-rle-empty": a name for each form. */
#define DICOM_SEG_FORM_NAME_MAX 64
void dicom_seg_form_name(const dicom_seg_form *form, char name[DICOM_SEG_FORM_NAME_MAX]);
/* A form from words: binary, fractional, labelmap; strict, ohif, slicer, weasis; none, rle, deflate; "" is
 * the first of each. false: no such word, or RLE for single bits, which is not written. */
bool dicom_seg_form_parse(dicom_seg_form *out, const char *format, const char *profile,
                          const char *compression, bool empty_frames);

/* Where a segment was written. */
typedef struct dicom_seg_place {
    int32_t file;   /* index of its object; -1: it was empty */
    int32_t number; /* Segment Number there, from 1 */
} dicom_seg_place;

typedef struct dicom_seg_options {
    const char *key; /* what the UIDs are derived from: same key, same UIDs */
    const char *series_description,
        *content_description; /* description: of the series; content: how the masks came about */
    const char *model_name, *model_version, *model_hash; /* algorithm identification, SoftwareVersions */
    const char *software_version;                        /* "msad 0.1.0" */
    int32_t series_number;
    const dicom_prompt *prompts; /* whose source objects are referenced; may be NULL */
    size_t n_prompts;
    dicom_seg_form form;
    const char *file_name;   /* files are NAME.dcm, NAME-2.dcm, ...; NULL: "seg" */
    dicom_seg_place *places; /* (n) out: of each segment; NULL: not wanted */
} dicom_seg_options;

typedef struct dicom_seg_file { /* what was written */
    char name[40], sop_class_uid[DICOM_UID_MAX];
    char sop_instance_uid[DICOM_UID_MAX], series_uid[DICOM_UID_MAX];
    int32_t frames, segments;
} dicom_seg_file;

#define DICOM_SEG_FILES_MAX 32

/**
 * Writes `n` segments over the series as seg.dcm, seg-2.dcm, ... in `dir`: a segment that overlaps an earlier
 * one goes into a second instance of the same series, because a common viewer drops overlapping ones (but see
 * dicom_seg_profile). Empty segments are left out, and so are empty frames unless the form wants them; all
 * empty: MSA_E_NOT_FOUND, nothing is written. Files are fsynced. Same input, key and form: same bytes (dates
 * come from the source, no clock is read). Each format and profile has UIDs of its own; tracking UIDs are
 * those of the segment in all of them, and compression changes none.
 *
 * Each object is then read back from disk and its pixels, plane positions and centroids are compared with
 * memory: a difference is MSA_E_INTERNAL. Memory beside the masks: some frames and the text of the frames'
 * items, whatever the number of frames. Errors: MSA_E_INVALID, MSA_E_IO, MSA_E_UNSUPPORTED (no Frame of
 * Reference UID, binary with RLE), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status dicom_seg_write(const dicom_series *series, const dicom_segment *segments, size_t n,
                                         const dicom_seg_options *options, const char *dir,
                                         dicom_seg_file *files, size_t *n_files, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
