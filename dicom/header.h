/* What the catalogue needs to know of one stored instance. Parses hostile bytes: only in a work role or in msa. */
#ifndef DICOM_HEADER_H
#define DICOM_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "dicom/init.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dicom_kind { DICOM_KIND_IMAGE = 1, DICOM_KIND_ANNOTATION = 2 } dicom_kind;

/* Plain data, fixed size: it travels over the role's socket as it is. Strings are NUL-terminated ASCII, unless it is said. */
typedef struct dicom_header {
    int32_t kind; /* dicom_kind */
    char sop_class_uid[DICOM_UID_MAX], sop_instance_uid[DICOM_UID_MAX];
    char study_uid[DICOM_UID_MAX], series_uid[DICOM_UID_MAX];
    char frame_of_reference_uid[DICOM_UID_MAX]; /* "" when absent */
    char transfer_syntax_uid[DICOM_UID_MAX];
    char modality[17], body_part[17];
    int32_t rows, cols, frames, instance_number;
    int32_t expected_instances; /* Number of Series Related Instances (0020,1209), 0 when absent */
    int32_t study_instances, acquisition_images; /* Number of Study Related Instances (0020,1208), Images in
                                                    Acquisition (0020,1002); 0 when absent */
    /* Study Description (0008,1030), Series Description (0008,103E), Protocol Name (0018,1030), as UTF-8; ""
       when absent. People write names there: for comparing only. */
    char study_description[DICOM_LABEL_MAX], series_description[DICOM_LABEL_MAX], protocol[DICOM_LABEL_MAX];
    double slice_mm; /* Spacing Between Slices (0018,0088), else Slice Thickness (0018,0050); 0 when absent */
    int64_t authored_ms; /* when it says it was made, since 1970; 0 when it does not (dicom/read/authored.h) */
    bool has_plane;             /* origin, directions and spacing are there and finite */
    double origin_mm[3], row_dir[3], col_dir[3];
    double spacing_mm[2]; /* between rows, between columns */
    double position_mm;   /* origin along the normal */
} dicom_header;

/**
 * Reads one Part 10 file up to the pixel data. Checks what every later step relies on: UIDs by grammar,
 * rows and columns within 1..16384, pixel description plausible, finite numbers.
 * Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (not DICOM, truncated), MSA_E_UNSUPPORTED (a SOP class or
 * pixel form that msad does not take, in words). Source: PS3.3 C.7.6.1 to C.7.6.3, C.12.1.
 */
MSA_NODISCARD msa_status dicom_header_read(dicom_header *out, const char *path, msa_error *err);

#define DICOM_PATIENT_KEY 65

/**
 * The same text for all objects of one patient, by Patient ID; of one study, where there is none. Hexadecimal
 * SHA-256: nothing of the patient leaves the file. Errors: as above.
 */
MSA_NODISCARD msa_status dicom_patient_key(char out[DICOM_PATIENT_KEY], const char *path, msa_error *err);

/* What msad takes. */
bool dicom_is_image_class(const char *sop_class_uid);
bool dicom_is_annotation_class(const char *sop_class_uid);

#ifdef __cplusplus
}
#endif
#endif
