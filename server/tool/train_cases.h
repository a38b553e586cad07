/* The cases of a training run: found below the recipe's folders, split by patient, opened for the engine. */
#ifndef SRV_TOOL_TRAIN_CASES_H
#define SRV_TOOL_TRAIN_CASES_H

#include "dicom/header.h"
#include "engine/cases.h"
#include "server/tool/cases.h"

typedef struct srv_train_case {
    char name[SRV_CASE_NAME]; /* told apart from all others */
    const srv_place *place;
    const srv_places *places; /* the label objects beside it */
    msa_case *read;           /* of a series, kept from the search until it is handed over */
    int32_t patient;          /* 1, 2, ...: whose it is */
    bool validation;
} srv_train_case;

typedef struct srv_train_cases {
    srv_train_case *list; /* in the order of the folders, and of names within each */
    int32_t n, n_patients;
    char (*patients)[DICOM_PATIENT_KEY]; /* (n_patients) hashes: the order of a split, written nowhere */
    srv_places *places;                  /* (n_places), one for each folder; the rest is private */
    int32_t n_places;
} srv_train_cases;

/**
 * Everything below the folders that `msa eval` takes for a case; the same twice counts once. A series is read
 * at once, since only then it is known whether somebody labelled it, and with `keep` it stays in memory until
 * it is handed over. Errors: those of srv_places_find() and
 * srv_case_open(); MSA_E_NOT_FOUND (a folder without a case).
 */
MSA_NODISCARD msa_status srv_train_cases_find(srv_train_cases *c, const char *const *folders, int32_t n,
                                              bool keep, msa_error *err);
void srv_train_cases_clear(srv_train_cases *c);

typedef struct srv_train_side {
    srv_train_cases *cases;
    bool validation;
} srv_train_side;

/* The cases of one side, for the engine; `side` is filled in and must outlive the set. */
msa_case_set srv_train_cases_set(srv_train_cases *c, bool validation, srv_train_side *side);

/* ---- the split ---- */

typedef struct srv_split_rule {
    double fraction; /* of patients; 0: none */
    uint64_t seed;
    const char *const *cases; /* (n_cases) names, or folders that hold cases, instead of a fraction */
    int32_t n_cases;
} srv_split_rule;

/**
 * Marks the cases that only validate. All of one patient are on one side: by Patient ID, NIfTI by the name of
 * folder or file. The draw depends on the seed and each patient alone, so that a new patient moves few
 * others. Errors: MSA_E_INVALID (a name that is no case, one side empty).
 */
MSA_NODISCARD msa_status srv_split_make(srv_train_cases *c, const srv_split_rule *rule, msa_error *err);
/* split.json: each case with its side; patients by number. Replaced whole. Errors: MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_split_write(const srv_train_cases *c, const srv_split_rule *rule,
                                         const char *path, msa_error *err);
/* Whether the split is still that of the file; no file: fine. Errors: MSA_E_INVALID naming the first case
 * that differs, MSA_E_IO, MSA_E_PARSE. */
MSA_NODISCARD msa_status srv_split_check(const srv_train_cases *c, const char *path, msa_error *err);

#endif
