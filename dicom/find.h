/* C-FIND as SCU (PS3.4 annex C): how many images an archive has of a series. Blocking, with deadlines; runs
 * in the send role. */
#ifndef DICOM_FIND_H
#define DICOM_FIND_H

#include "dicom/send.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_find_result {
    int32_t images;         /* 0: it has none, or does not say; then `said` tells */
    dicom_send_result said; /* DICOM_DELIVERED: it has answered */
} dicom_find_result;

/**
 * Asks in the study root model: at SERIES level for Number of Series Related Instances (0020,1209), which is
 * optional; where the answer lacks it, at IMAGE level, and counts. Answers about other series, as from
 * archives that ignore a key, do not count. Returns MSA_OK whenever result is filled, whatever was answered;
 * errors are ours.
 */
MSA_NODISCARD msa_status dicom_find_images(const dicom_destination *source, const char *study_uid,
                                           const char *series_uid, dicom_find_result *result, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
