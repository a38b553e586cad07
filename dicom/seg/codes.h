/* What a segment's label means: the table of config/labels.yaml, made into C at build time. */
#ifndef DICOM_SEG_CODES_H
#define DICOM_SEG_CODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dicom/annotation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* L*, a*, b* scaled to 16 bit: Recommended Display CIELab Value (0062,000D), PS3.3 C.10.7.1.1. */
typedef struct dicom_colour {
    uint16_t lab[3];
} dicom_colour;

typedef struct dicom_label {
    const char *const *globs; /* ends with NULL */
    dicom_code category, type;
    bool paired; /* the side named in the label belongs to the type */
    dicom_colour colour;
} dicom_label;

/* The generated tables. */
extern const dicom_label dicom_labels[];
extern const size_t dicom_labels_n;
extern const dicom_colour dicom_palette[];
extern const size_t dicom_palette_n;

typedef enum dicom_side { DICOM_SIDE_NONE, DICOM_SIDE_LEFT, DICOM_SIDE_RIGHT } dicom_side;

/* What a segment is called in the object. */
typedef struct dicom_meaning {
    dicom_code category, type, modifier; /* modifier: the side; value "" when there is none */
    const dicom_label *entry;            /* the table's entry behind it, or NULL */
} dicom_meaning;

/* The table's entry for a label, or NULL; *side (may be NULL) is the side that the label names. Threads: any.
 */
const dicom_label *dicom_label_find(const char *label, dicom_side *side);

/**
 * Category and type for a segment: those of the caller when they come from SNOMED CT or DCM, else what the
 * table says to the label, to the caller's type's meaning, and last 85756007 Tissue. Private and retired
 * schemes (99..., SRT) are no coded terms that a viewer knows, so they are not passed on.
 */
void dicom_meaning_find(dicom_meaning *out, const char *label, const dicom_code *category,
                        const dicom_code *type);

/* Is it whole, and from a scheme that we pass on? */
bool dicom_code_usable(const dicom_code *code);

#ifdef __cplusplus
}
#endif
#endif
