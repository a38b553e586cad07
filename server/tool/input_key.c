#include "server/tool/input_key.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

typedef struct hashes {
    char (*hex)[MSA_SHA256_HEX];
    size_t n, room;
} hashes;

static void hashes_clear(hashes *h)
{
    free(h->hex);
}
static void close_fts(FTS **fts)
{
    if (*fts) (void)fts_close(*fts);
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

static bool same_folder(const char *path, const char *skip_dir)
{
    char real[PATH_MAX];
    return realpath(path, real) && strcmp(real, skip_dir) == 0;
}

static msa_status add_folder(hashes *h, const char *dir, const char *skip_dir, msa_error *err)
{
    MSA_AUTO_FREE char *copy = strdup(dir);
    char *roots[] = {copy, NULL};
    if (!copy) return msa_fail(err, MSA_E_NOMEM, "out of memory for the input's hash");
    __attribute__((cleanup(close_fts))) FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!fts) return msa_fail(err, MSA_E_IO, "cannot read the folder %.120s", dir);
    for (FTSENT *e = fts_read(fts); e; e = fts_read(fts)) {
        if (e->fts_info == FTS_D && same_folder(e->fts_path, skip_dir))
            (void)fts_set(fts, e, FTS_SKIP);
        else if (e->fts_info == FTS_F)
            MSA_TRY(add_file(h, e->fts_path, err));
        else if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR)
            return msa_fail(err, MSA_E_IO, "cannot read the folder %.120s: %s", dir, strerror(e->fts_errno));
    }
    return MSA_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

msa_status srv_input_key(const srv_segment_arguments *a, const char *skip_dir, const char *model_hash,
                         char key[MSA_SHA256_HEX], msa_error *err)
{
    __attribute__((cleanup(hashes_clear))) hashes h = {0};
    char line[512];
    MSA_TRY(add_folder(&h, a->series_dir, skip_dir, err));
    for (size_t i = 0; i < a->n_annotations; i++)
        MSA_TRY(add_file(&h, a->annotations[i], err));
    if (h.n > 0) qsort(h.hex, h.n, sizeof *h.hex, by_text);
    msa_sha256 *sum = msa_sha256_new();
    if (!sum) return msa_fail(err, MSA_E_NOMEM, "out of memory for the input's hash");
    for (size_t i = 0; i < h.n; i++)
        msa_sha256_update(sum, h.hex[i], MSA_SHA256_HEX);
    for (size_t i = 0; i < a->n_boxes; i++) {
        const dicom_prompt *b = &a->boxes[i];
        const int n = snprintf(line, sizeof line, "box %.17g %.17g %.17g %.17g %d %s", b->x0, b->y0, b->x1,
                               b->y1, b->slice, b->label);
        msa_sha256_update(sum, line, (size_t)n + 1);
    }
    msa_sha256_update(sum, model_hash, strlen(model_hash));
    msa_sha256_hex(sum, key);
    msa_sha256_free(sum);
    return MSA_OK;
}
