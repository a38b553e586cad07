#include "server/tool/input_key.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/cleanup.h"

typedef struct hashes {
    char (*hex)[MSA_SHA256_HEX];
    size_t n, room;
} hashes;

static void hashes_clear(hashes *h)
{
    free(h->hex);
}

static msa_status add_file(hashes *h, const char *path, msa_error *err)
{
    if (h->n == h->room) {
        const size_t room = h->room ? h->room * 2 : 64;
        char(*grown)[MSA_SHA256_HEX] = realloc(h->hex, room * sizeof *grown);
        if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the input's hash");
        h->hex = grown;
        h->room = room;
    }
    return msa_sha256_file(path, h->hex[h->n++], err);
}

static void close_folder(DIR **d)
{
    if (*d) (void)closedir(*d);
}

enum { DEPTH_MAX = 32 };

static msa_status add_folder(hashes *h, const char *dir, const char *skip_dir, int depth, msa_error *err);

static msa_status add_entry(hashes *h, const char *path, const char *skip_dir, int depth, msa_error *err)
{
    char real[PATH_MAX];
    struct stat st;
    if (lstat(path, &st) != 0) return msa_fail(err, MSA_E_IO, "cannot read %.150s", path);
    if (S_ISREG(st.st_mode)) return add_file(h, path, err);
    if (!S_ISDIR(st.st_mode) || (realpath(path, real) && strcmp(real, skip_dir) == 0)) return MSA_OK;
    return add_folder(h, path, skip_dir, depth + 1, err);
}

static msa_status add_folder(hashes *h, const char *dir, const char *skip_dir, int depth, msa_error *err)
{
    __attribute__((cleanup(close_folder))) DIR *d = opendir(dir);
    if (!d) return msa_fail(err, MSA_E_IO, "cannot read the folder %.120s: %s", dir, strerror(errno));
    if (depth > DEPTH_MAX) return msa_fail(err, MSA_E_UNSUPPORTED, "the folder %.120s lies too deep", dir);
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        char path[PATH_MAX];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        const int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (n < 0 || (size_t)n >= sizeof path)
            return msa_fail(err, MSA_E_UNSUPPORTED, "a path below %.120s is too long", dir);
        MSA_TRY(add_entry(h, path, skip_dir, depth, err));
    }
    return MSA_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* A list of hashes, its length before it: a file may not pass from one list into the other unnoticed. */
static void put_hashes(msa_sha256 *sum, const char *what, const hashes *h)
{
    char head[48];
    const int n = snprintf(head, sizeof head, "%s %zu", what, h->n);
    msa_sha256_update(sum, head, (size_t)n + 1);
    for (size_t i = 0; i < h->n; i++)
        msa_sha256_update(sum, h->hex[i], MSA_SHA256_HEX);
}

static void put_boxes(msa_sha256 *sum, const srv_segment_arguments *a)
{
    char line[512];
    for (size_t i = 0; i < a->n_boxes; i++) {
        const dicom_prompt *b = &a->boxes[i];
        const int n = snprintf(line, sizeof line, "box %.17g %.17g %.17g %.17g %d %s", b->x0, b->y0, b->x1,
                               b->y1, b->slice, b->label);
        msa_sha256_update(sum, line, (size_t)n + 1);
    }
}

static void put_automatic(msa_sha256 *sum, const srv_segment_arguments *a)
{
    const msa_auto_options *o = &a->automatic_options;
    char line[256];
    if (!a->automatic) return;
    const int n =
        snprintf(line, sizeof line, "auto %d %d %.9g %.9g %.9g %.9g %.9g %.9g %d", o->points_per_side,
                 o->regions_max, (double)o->iou_min, (double)o->stability_min, (double)o->stability_offset,
                 (double)o->box_nms, (double)o->area_min_mm2, (double)o->link_iou, o->slices_min);
    msa_sha256_update(sum, line, (size_t)n + 1);
}

msa_status srv_input_key(const srv_segment_arguments *a, const char *skip_dir, const char *model_hash,
                         char key[MSA_SHA256_HEX], msa_error *err)
{
    static const char version[] = "msad " MSAD_VERSION; /* it is in the result, and so is what it does */
    __attribute__((cleanup(hashes_clear))) hashes series = {0};
    __attribute__((cleanup(hashes_clear))) hashes annotations = {0};
    MSA_TRY(add_folder(&series, a->series_dir, skip_dir, 0, err));
    for (size_t i = 0; i < a->n_annotations; i++)
        MSA_TRY(add_file(&annotations, a->annotations[i], err));
    if (series.n > 0) qsort(series.hex, series.n, sizeof *series.hex, by_text);
    msa_sha256 *sum = msa_sha256_new();
    if (!sum) return msa_fail(err, MSA_E_NOMEM, "out of memory for the input's hash");
    msa_sha256_update(sum, version, sizeof version);
    put_hashes(sum, "series", &series);
    put_hashes(sum, "annotations", &annotations);
    put_boxes(sum, a);
    put_automatic(sum, a);
    msa_sha256_update(sum, model_hash, strlen(model_hash));
    msa_sha256_hex(sum, key);
    msa_sha256_free(sum);
    return MSA_OK;
}
