#include "server/roles/sandbox.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "dicom/init.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "server/roles/landlock.h"
#include "server/roles/syscalls.h"
#include "server/segment/models.h"

static bool disabled;

void srv_sandbox_disable(void)
{
    disabled = true;
}

const char *srv_sandbox_missing(void)
{
#if defined(SRV_NO_SANDBOX)
    return SRV_NO_SANDBOX;
#else
    return NULL;
#endif
}

static bool is_off(void)
{
    return disabled || srv_sandbox_missing() != NULL;
}

/* Landlock holds for the thread that asks, and a thread outside of it would open the folders for all. */
static msa_status check_alone(msa_error *err)
{
    struct stat st;
    if (stat("/proc/self/task", &st) != 0 || st.st_nlink <= 3) return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "the process has several threads before it enters its sandbox");
}

/* What libraries read at their first use, and then have: the time zone, libcrypto's configuration. */
static void read_ahead(void)
{
    uint8_t digest[MSA_SHA256_SIZE];
    tzset();
    msa_sha256_bytes("", 0, digest, NULL);
}

/* Takes over l. */
static msa_status enter(srv_landlock *l, unsigned calls, msa_error *err)
{
    MSA_TRY(check_alone(err));
    read_ahead();
    MSA_TRY(srv_landlock_enter(l, err));
    return srv_syscalls_restrict(calls, err);
}

static msa_status allow_below(const srv_landlock *l, const char *root, const char *folder, srv_reach reach,
                              msa_error *err)
{
    char path[SRV_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/%s", root, folder);
    return srv_landlock_allow(l, path, reach, err);
}

/* ---- receive ---- */

static msa_status allow_receive(const srv_landlock *l, const char *storage_path, msa_error *err)
{
    MSA_TRY(allow_below(l, storage_path, "incoming", SRV_REACH_WRITE, err));
    return allow_below(l, storage_path, "blobs", SRV_REACH_PLACE, err);
}

msa_status srv_sandbox_receive(const char *storage_path, msa_error *err)
{
    if (is_off()) return MSA_OK;
    __attribute__((cleanup(srv_landlock_clear))) srv_landlock l;
    MSA_TRY(srv_landlock_new(&l, 0, err));
    MSA_TRY(allow_receive(&l, storage_path, err));
    return enter(&l, SRV_CALLS_OPEN | SRV_CALLS_WRITE | SRV_CALLS_TALK, err);
}

/* ---- work ---- */

/* A file of the configuration that is not there is reported by who loads it. Also for the bundled one where
 * none is asked for: srv_model_path() then knows the program's folder. */
static msa_status allow_model(const srv_landlock *l, const char *name, msa_error *err)
{
    char file[SRV_PATH_MAX], title[128], card[1024];
    if (srv_model_path(name, file, sizeof file, NULL) != MSA_OK) return MSA_OK;
    srv_model_card(file, title, card);
    MSA_TRY(srv_landlock_allow(l, file, SRV_REACH_READ, err));
    return srv_landlock_allow(l, card, SRV_REACH_READ, err);
}

static msa_status allow_models(const srv_landlock *l, const srv_ipc_work_start *start, const srv_rule *rules,
                               msa_error *err)
{
    MSA_TRY(allow_model(l, start->model_path, err));
    MSA_TRY(srv_landlock_allow(l, start->model_adapters_dir, SRV_REACH_READ, err));
    if (start->model_adapter[0] != '\0') MSA_TRY(allow_model(l, start->model_adapter, err));
    for (int32_t i = 0; i < start->n_rules; i++)
        if (rules[i].adapter[0] != '\0') MSA_TRY(allow_model(l, rules[i].adapter, err));
    return MSA_OK;
}

static msa_status allow_work(const srv_landlock *l, const srv_ipc_work_start *start, const srv_rule *rules,
                             msa_error *err)
{
    MSA_TRY(allow_below(l, start->storage_path, "blobs", SRV_REACH_READ, err));
    if (start->index_only) return allow_below(l, start->storage_path, "incoming", SRV_REACH_READ, err);
    MSA_TRY(allow_below(l, start->storage_path, "jobs", SRV_REACH_WRITE, err));
    MSA_TRY(allow_below(l, start->storage_path, "embeddings", SRV_REACH_WRITE, err));
    return allow_models(l, start, rules, err);
}

msa_status srv_sandbox_work(const srv_ipc_work_start *start, const srv_rule *rules, msa_error *err)
{
    if (is_off()) return MSA_OK;
    __attribute__((cleanup(srv_landlock_clear))) srv_landlock l;
    MSA_TRY(srv_landlock_new(&l, 0, err));
    MSA_TRY(allow_work(&l, start, rules, err));
    if (l.abi == 0)
        msa_log(MSA_LOG_WARN, "sandbox",
                "this kernel has no Landlock (5.19 and later): only permissions of files keep "
                "a worker from other folders");
    return enter(
        &l, start->index_only ? SRV_CALLS_OPEN : SRV_CALLS_OPEN | SRV_CALLS_WRITE | SRV_CALLS_THREADS, err);
}

/* ---- send ---- */

msa_status srv_sandbox_send(const char *blob, const dicom_destination *to, msa_error *err)
{
    if (is_off()) return MSA_OK;
    __attribute__((cleanup(srv_landlock_clear))) srv_landlock l;
    MSA_TRY(srv_landlock_new(&l, to->port, err));
    const char *const files[] = {blob, to->tls.key, to->tls.certificate, to->tls.ca};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        MSA_TRY(srv_landlock_allow(&l, files[i], SRV_REACH_READ, err));
    return enter(&l, SRV_CALLS_OPEN | SRV_CALLS_TALK | SRV_CALLS_CONNECT, err);
}
