/* How full the storage volume is, and what follows: fewer associations, then none, and again as before by
 * itself. */
#include "server/core/core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "engine/base/log.h"

#define LOOK_MS 1000u

struct srv_disk {
    srv_core *core;
    uv_fs_t request; /* on libuv's pool: a network file system may take its time */
    bool asking;
    uint64_t looked_at_ms;
    int64_t free_bytes, total_bytes;
    srv_disk_level level;
    char why[MSA_ERROR_WHAT_MAX];
};

/* A mark in MiB is meant for a server's disk: of a small volume it is a part. */
static int64_t mark(const srv_disk *d, int32_t mib, int64_t part)
{
    const int64_t wanted = (int64_t)mib << 20, most = d->total_bytes / part;
    return wanted < most ? wanted : most;
}

static int64_t soft_mark(const srv_disk *d)
{
    return mark(d, d->core->config->storage_soft_free_mib, 10);
}

static int64_t hard_mark(const srv_disk *d)
{
    return mark(d, d->core->config->storage_hard_free_mib, 20);
}

/* A level is left an eighth above its mark, so that it does not flutter. */
static bool below(const srv_disk *d, int64_t at, bool already)
{
    return d->free_bytes < at + (already ? at / 8 : 0);
}

static srv_disk_level find_level(const srv_disk *d)
{
    if (below(d, hard_mark(d), d->level == SRV_DISK_HARD)) return SRV_DISK_HARD;
    return below(d, soft_mark(d), d->level >= SRV_DISK_SOFT) ? SRV_DISK_SOFT : SRV_DISK_OK;
}

static void settle(srv_disk *d)
{
    static const char *const names[] = {"enough", "low", "full"};
    const srv_disk_level level = find_level(d);
    const long long mib = d->free_bytes >> 20, hard = hard_mark(d) >> 20, soft = soft_mark(d) >> 20;
    if (level == SRV_DISK_HARD)
        (void)snprintf(
            d->why, sizeof d->why,
            "the storage volume is nearly full, %lld MiB free: nothing is received until more than %lld MiB "
            "are; free some space, or set storage.hard_free_mib lower",
            mib, hard);
    else if (level == SRV_DISK_SOFT)
        (void)snprintf(d->why, sizeof d->why,
                       "the storage volume fills up, %lld MiB free: fewer associations are taken until more "
                       "than %lld MiB "
                       "are; free some space, or set storage.soft_free_mib lower",
                       mib, soft);
    else
        d->why[0] = '\0';
    if (level != d->level)
        msa_log(level > d->level ? MSA_LOG_WARN : MSA_LOG_INFO, "disk", "room=%s free_mib=%lld%s%s%s",
                names[level], mib, level == SRV_DISK_OK ? "" : " what=\"", d->why,
                level == SRV_DISK_OK ? "" : "\"");
    d->level = level;
}

static void looked(uv_fs_t *request)
{
    srv_disk *d = request->data;
    const uv_statfs_t *s = request->ptr;
    d->asking = false;
    if (request->result == 0 && s != NULL) {
        d->free_bytes = (int64_t)s->f_bavail * (int64_t)s->f_bsize;
        d->total_bytes = (int64_t)s->f_blocks * (int64_t)s->f_bsize;
        settle(d);
    }
    uv_fs_req_cleanup(request);
    srv_core_part_stopped(d->core);
}

msa_status srv_disk_start(srv_core *core, msa_error *err)
{
    struct statvfs v;
    srv_disk *d = calloc(1, sizeof *d);
    if (d == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    d->core = core;
    core->disk = d;
    if (statvfs(core->config->storage_path, &v) != 0)
        return msa_fail(err, MSA_E_IO, "cannot ask how much room there is in %s", core->config->storage_path);
    d->free_bytes = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
    d->total_bytes = (int64_t)v.f_blocks * (int64_t)v.f_frsize;
    settle(d);
    return MSA_OK;
}

void srv_disk_tick(srv_disk *d)
{
    const uint64_t now = uv_now(d->core->loop);
    if (d->asking || d->core->stopping || now - d->looked_at_ms < LOOK_MS) return;
    d->looked_at_ms = now;
    d->request.data = d;
    d->asking = uv_fs_statfs(d->core->loop, &d->request, d->core->config->storage_path, looked) == 0;
}

srv_disk_level srv_disk_level_now(const srv_disk *d)
{
    return d->level;
}

int64_t srv_disk_keep_free(const srv_disk *d)
{
    return hard_mark(d);
}

const char *srv_disk_why(const srv_disk *d)
{
    return d->why;
}

void srv_disk_live(const srv_disk *d, srv_http_live *live)
{
    live->disk_free_bytes = d->free_bytes;
    live->disk_total_bytes = d->total_bytes;
    live->disk_level = (int32_t)d->level;
    (void)snprintf(live->disk_why, sizeof live->disk_why, "%s", d->why);
    if (d->level != SRV_DISK_HARD) return;
    live->ready = false;
    (void)snprintf(live->not_ready_reason, sizeof live->not_ready_reason, "%s", d->why);
}

bool srv_disk_idle(const srv_disk *d)
{
    return d == NULL || !d->asking;
}

void srv_disk_free(srv_disk *d)
{
    free(d);
}
