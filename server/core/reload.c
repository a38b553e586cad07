/* SIGHUP: the settings read again. All that has changed comes into force, or nothing does. */
#include "server/core/core.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "engine/base/log.h"
#include "server/core/config_table.h"

static bool same_list(const srv_config *a, const srv_config *b, const srv_list *list)
{
    const int32_t n = srv_list_count(a, list);
    if (n != srv_list_count(b, list)) return false;
    return memcmp((const char *)a + list->items, (const char *)b + list->items,
                  (size_t)n * list->item_size) == 0;
}

/* Workers load model and rules once, and the store and REST are opened once. */
static msa_status check_changes(const srv_config *now, const srv_config *then, msa_error *err)
{
    for (size_t i = 0; i < srv_n_settings; i++) {
        const srv_setting *s = &srv_settings[i];
        if (memcmp((const char *)now + s->offset, (const char *)then + s->offset, s->size) != 0 && !s->live)
            return msa_fail(err, MSA_E_UNSUPPORTED, "%s.%s has changed, which needs a restart of msad",
                            s->section, s->key);
    }
    for (int i = 0; i < SRV_N_LISTS; i++)
        if (!srv_lists[i].live && !same_list(now, then, &srv_lists[i]))
            return msa_fail(err, MSA_E_UNSUPPORTED, "%s have changed, which needs a restart of msad",
                            srv_lists[i].name);
    return MSA_OK;
}

msa_status srv_core_reload(srv_core *core, msa_error *err)
{
    MSA_AUTO_FREE srv_config *wanted = malloc(sizeof *wanted);
    if (wanted == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    MSA_TRY(srv_config_load(wanted, core->config_path, err));
    MSA_TRY(srv_config_check_files(wanted, err));
    srv_config_settle(wanted);
    MSA_TRY(check_changes(core->config, wanted, err));
    MSA_TRY(srv_outbox_reload(core->outbox, wanted, err));
    MSA_TRY(srv_intake_reload(core->intake, wanted, err)); /* the last that can fail */
    srv_outbox_reloaded(core->outbox, wanted);
    srv_http_reloaded(core->http, wanted);
    msa_log_level level = MSA_LOG_INFO;
    if (msa_log_level_parse(wanted->log_level, &level) == 0) msa_log_set_level(level);
    free(core->reloaded); /* read on this thread only, and nobody keeps a pointer into it */
    core->config = core->reloaded = MSA_STEAL(wanted);
    return MSA_OK;
}

void srv_reload_free(srv_core *core)
{
    free(core->reloaded);
}
