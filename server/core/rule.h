/* The rules of the configuration: for which series and prompts each one is, and what it says of them. */
#ifndef SRV_CORE_RULE_H
#define SRV_CORE_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dicom/annotation.h"

#define SRV_CODE_STRING_MAX 17 /* a DICOM code string (CS) and its NUL */
#define SRV_RULES_MAX       32
#define SRV_RULE_WHY_MAX    160

/* Plain data: it travels to the workers and back as it is. In what a rule is for, "", "*" and 0 are anything.
 */
typedef struct srv_rule {
    char name[64]; /* "": its number serves */

    char modality[SRV_CODE_STRING_MAX], body_part[SRV_CODE_STRING_MAX];
    /* globs, letters of either case: Study Description (0008,1030), Series Description (0008,103E), Protocol
     * Name (0018,1030), calling AE title */
    char study[DICOM_LABEL_MAX], series[DICOM_LABEL_MAX], protocol[DICOM_LABEL_MAX], sender[DICOM_AE_MAX];
    char orientation[12];           /* axial, sagittal, coronal, oblique */
    char label[DICOM_LABEL_MAX];    /* of the prompt, or its finding as SCHEME:VALUE */
    int32_t slices_min, slices_max; /* how many the series has */
    double spacing_max_mm;          /* between neighbouring slices */

    char adapter[1024];  /* one of model.adapters_dir; a file; default-ct, default-mr: bundled; "": none */
    char prompts[12];    /* srv_rule_policy() */
    int32_t box_percent; /* default-box: its sides, of those of the body on the middle slice */
    char regions[8];     /* box or mask: how areas that annotations draw become prompts */
    char default_label[DICOM_LABEL_MAX]; /* of objects that nobody named; "": Object */
    char labels[1024];                   /* srv_rule_code_of() */
    int32_t settle_ms, quiet_ms;         /* 0: as under completeness */
    char contours[12];                   /* none or rtstruct: results as an RT Structure Set as well */
    char pictures[12];                   /* none or capture: key slices as secondary captures */
    char destinations[512];              /* srv_rule_sends_to() */

    int32_t number; /* from 1, as the configuration counts */
    int32_t model;  /* of the table that the rule stands in; -1: its adapter cannot be used, passed over */
} srv_rule;

/* A series as rules look at it; "", 0: not known. */
typedef struct srv_rule_subject {
    char modality[SRV_CODE_STRING_MAX], body_part[SRV_CODE_STRING_MAX];
    char study[DICOM_LABEL_MAX], series[DICOM_LABEL_MAX], protocol[DICOM_LABEL_MAX], sender[DICOM_AE_MAX];
    char orientation[12]; /* "mixed": its images differ */
    int32_t slices;
    double spacing_mm;
} srv_rule_subject;

/**
 * Whether the rule is for this series and prompt. prompt NULL: nobody prompted, or what concerns the series
 * as a whole is asked for; a rule for a label is for neither. why (may be NULL): else the first reason, as a
 * sentence without a full stop that tells the rule's words and of the series no free text (it may name the
 * patient).
 */
bool srv_rule_fits(const srv_rule *rule, const srv_rule_subject *subject, const dicom_prompt *prompt,
                   char why[SRV_RULE_WHY_MAX]);

#define SRV_RULE_TEXT_MAX 512
/* What it is for, as a sentence: "it is for the modality CT and a Series Description like *thin*". Long ones
 * are cut. */
void srv_rule_describe(const srv_rule *rule, char out[SRV_RULE_TEXT_MAX]);

/* Whatever the series is, and whatever its prompts are called. */
bool srv_rule_is_for_all(const srv_rule *rule);

/* What becomes of a series that nobody annotated. */
typedef enum srv_policy {
    SRV_POLICY_WAIT,        /* it waits for an annotation */
    SRV_POLICY_AUTO,        /* everything in it is segmented, as set under automatic */
    SRV_POLICY_DEFAULT_BOX, /* a box in the middle of it is the prompt */
    SRV_POLICY_SKIP,        /* nothing, and its job ends; an annotation that comes later makes a new one */
} srv_policy;
srv_policy srv_rule_policy(const srv_rule *rule);
const char *srv_policy_name(srv_policy policy); /* "default-box" */
bool srv_policy_named(const char *name, srv_policy *out);

/* Its name, else its number. */
void srv_rule_title(const srv_rule *rule, char out[64]);

/**
 * The finding that the rule's `labels`, "LABEL=SCHEME:VALUE:MEANING; ...", give to a label, letters of either
 * case; false: none. MEANING may be left out: then it is LABEL.
 */
bool srv_rule_code_of(const srv_rule *rule, const char *label, dicom_code *out);
/* What is wrong with such a text, as the end of a sentence; NULL: nothing. */
const char *srv_rule_labels_wrong(const char *labels);

/* Whether results go there: `destinations` is "*" or "": to all; "none"; or names with commas between. */
bool srv_rule_sends_to(const srv_rule *rule, const char *destination);

/* Orientation of a plane with these directions: the axis next to its normal, oblique when that is more than
 * 30 degrees away. */
const char *srv_orientation_of(const double row_dir[3], const double col_dir[3]);

#endif
