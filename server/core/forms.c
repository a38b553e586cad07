#include "server/core/forms.h"

#include <string.h>

bool srv_form_of(const dicom_destination *to, dicom_seg_form *form)
{
    return dicom_seg_form_parse(form, to->format, to->profile, to->compression, to->empty_frames);
}

void srv_forms_wanted(srv_forms *out, const srv_config *config, const srv_rule *rule)
{
    memset(out, 0, sizeof *out);
    for (int32_t i = 0; i < config->n_destinations; i++) {
        dicom_seg_form form = {0};
        out->of[i] = -1;
        if (!srv_rule_sends_to(rule, config->destinations[i].name) ||
            !srv_form_of(&config->destinations[i], &form))
            continue;
        int32_t k = 0;
        while (k < out->n && memcmp(&out->form[k], &form, sizeof form) != 0)
            k++;
        if (k == out->n) out->form[out->n++] = form;
        out->of[i] = k;
    }
    if (out->n == 0) out->n = 1; /* all zero: the usual form */
}

void srv_targets_of(srv_targets *out, const srv_config *config, const srv_rule *rule)
{
    srv_forms forms;
    srv_forms_wanted(&forms, config, rule);
    memset(out, 0, sizeof *out);
    for (int32_t i = 0; i < config->n_destinations; i++) {
        if (forms.of[i] < 0) continue;
        memcpy(out->name[out->n], config->destinations[i].name, sizeof out->name[0]);
        out->form[out->n++] = forms.of[i];
    }
}
