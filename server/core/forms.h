/* In which forms the destinations want segmentations. */
#ifndef SRV_CORE_FORMS_H
#define SRV_CORE_FORMS_H

#include "dicom/seg.h"
#include "server/core/config.h"

#define SRV_FILES_MAX    64 /* segmentations of one job, all forms together */
#define SRV_CAPTURES_MAX 12 /* pictures of it as secondary captures */

/* What a destination asks for. false: its words make no form. */
bool srv_form_of(const dicom_destination *to, dicom_seg_form *form);

typedef struct srv_forms {
    dicom_seg_form form[SRV_DESTINATIONS_MAX];
    int32_t n;
    /* Of each of the configuration's destinations: which form it gets; -1: nothing goes there. */
    int32_t of[SRV_DESTINATIONS_MAX];
} srv_forms;

/* Whom results of one job go to, and which of its forms each gets. */
typedef struct srv_targets {
    int32_t n;
    int32_t form[SRV_DESTINATIONS_MAX];
    char name[SRV_DESTINATIONS_MAX][sizeof(((dicom_destination *)NULL)->name)];
} srv_targets;

void srv_targets_of(srv_targets *out, const srv_config *config, const srv_rule *rule);

/* Each form that a destination of the rule wants, once; the usual one where there is no destination. */
void srv_forms_wanted(srv_forms *out, const srv_config *config, const srv_rule *rule);

#endif
