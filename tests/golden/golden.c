#include "tests/golden/golden.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define REASON_DEFAULT "no check for this tensor"

struct golden_file {
    char *path;
    msa_safetensors *tensors;
};

msa_status golden_open(golden_file **out, const char *path, msa_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory");
    (*out)->path = strdup(path);
    const msa_status status = (*out)->path == NULL ? msa_fail(err, MSA_E_NOMEM, "no memory")
                                                   : msa_safetensors_open(&(*out)->tensors, path, err);
    if (status == MSA_OK) return MSA_OK;
    golden_close(*out);
    *out = NULL;
    return status;
}

void golden_close(golden_file *f)
{
    if (f == NULL) return;
    msa_safetensors_free(f->tensors);
    free(f->path);
    free(f);
}

const char *golden_path(const golden_file *f)
{
    return f->path;
}

const msa_tensor *golden_find(const golden_file *f, const char *name)
{
    return msa_safetensors_find(f->tensors, name);
}

const msa_tensor *golden_findf(const golden_file *f, const char *fmt, ...)
{
    char name[MSA_TENSOR_NAME_MAX + 1];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return golden_find(f, name);
}

int32_t golden_count(const golden_file *f)
{
    return msa_safetensors_count(f->tensors);
}

const msa_tensor *golden_at(const golden_file *f, int32_t i)
{
    return msa_safetensors_at(f->tensors, i);
}

const char *golden_meta(const golden_file *f, const char *key)
{
    return msa_safetensors_metadata(f->tensors, key);
}

/* ---- the report ---- */

typedef enum verdict { VERDICT_NONE, VERDICT_OK, VERDICT_FAIL, VERDICT_SKIP } verdict;

typedef struct entry {
    verdict is;
    const char *reason;
} entry;

struct golden_report {
    const golden_file *f;
    entry *entries; /* by index of the tensor in the file */
    double worst;
    bool failed;
};

msa_status golden_report_new(golden_report **out, const golden_file *f, msa_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory");
    (*out)->f = f;
    (*out)->entries = calloc((size_t)golden_count(f) + 1, sizeof(entry));
    if ((*out)->entries != NULL) return MSA_OK;
    golden_report_free(*out);
    *out = NULL;
    return msa_fail(err, MSA_E_NOMEM, "no memory");
}

void golden_report_free(golden_report *r)
{
    if (r == NULL) return;
    free(r->entries);
    free(r);
}

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static bool ends(const char *name, const char *with)
{
    const size_t n = strlen(name), k = strlen(with);
    return n >= k && strcmp(name + n - k, with) == 0;
}

/* Something that a file claims about results; inputs and weights are not. */
static bool is_claim(const char *name)
{
    return begins(name, "out.") || begins(name, "grad.") || begins(name, "step.");
}

/* ---- tolerances, as the format's README lists them ---- */

static double max_abs(const msa_tensor *t)
{
    double max = 0.0;
    for (int64_t i = 0; i < t->count; i++)
        max = fmax(max, fabs((double)t->data[i]));
    return max;
}

static double layernorm_tolerance(const msa_tensor *t, int64_t i)
{
    const int64_t row = i / t->shape[t->rank - 1];
    return row == 2 ? 5e-5 : row == 3 ? 5e-4 : 1e-5; /* row 2 is constant, row 3 ill-conditioned */
}

static double tolerance_at(const msa_tensor *t, double largest, int64_t i)
{
    static const char *const tight[] = {"out.gelu.", "out.rel_pos.", "out.window.", "out.pe."};
    const char *n = t->name;
    if (begins(n, "grad.")) return 1e-3 * largest + 1e-7;
    if (begins(n, "step.") || begins(n, "out.opt.")) return 1e-6;
    if (ends(n, "_u8")) return 0.0;
    if (ends(n, ".loss") || ends(n, ".loss_traj")) return i == 0 ? 1e-5 : 2e-3;
    if (strcmp(n, "out.softmax") == 0 || strcmp(n, "out.sigmoid") == 0) return 1e-6 * fmax(1.0, largest);
    for (size_t k = 0; k < sizeof tight / sizeof tight[0]; k++)
        if (begins(n, tight[k])) return 1e-6 * fmax(1.0, largest);
    if (strcmp(n, "out.layernorm2d") == 0) return 5e-5;
    if (begins(n, "out.layernorm.")) return layernorm_tolerance(t, i);
    if (begins(n, "out.bicubic.") || begins(n, "out.bilinear") || begins(n, "out.linear1d.")) return 1e-5;
    return 1e-4;
}

/* An 8-bit image may differ by one grey level in one sample of a hundred. */
static bool compare_image(golden_report *r, const msa_tensor *t, const float *got)
{
    int64_t off = 0;
    for (int64_t i = 0; i < t->count; i++) {
        const double d = fabs((double)got[i] - (double)t->data[i]);
        if (!(d <= 1.0)) {
            printf("    FAIL %s: index %lld wanted %g got %g tolerance 1\n", t->name, (long long)i,
                   (double)t->data[i], (double)got[i]);
            return false;
        }
        if (d > 0.0) off++;
        r->worst = fmax(r->worst, d);
    }
    if (off * 100 <= t->count) return true;
    printf("    FAIL %s: %lld of %lld samples differ, more than 1 %%\n", t->name, (long long)off,
           (long long)t->count);
    return false;
}

static bool compare_values(golden_report *r, const msa_tensor *t, const float *got)
{
    const double largest = max_abs(t);
    if (begins(t->name, "out.pil.")) return compare_image(r, t, got);
    for (int64_t i = 0; i < t->count; i++) {
        const double d = fabs((double)got[i] - (double)t->data[i]), tolerance = tolerance_at(t, largest, i);
        if (!(d <= tolerance)) {
            printf("    FAIL %s: index %lld wanted %.9g got %.9g tolerance %.3g\n", t->name, (long long)i,
                   (double)t->data[i], (double)got[i], tolerance);
            return false;
        }
        r->worst = fmax(r->worst, d);
    }
    return true;
}

bool golden_compare(golden_report *r, const char *name, const float *got, int64_t n)
{
    const msa_tensor *t = golden_find(r->f, name);
    if (t == NULL) {
        printf("    FAIL %s: the file has no such tensor\n", name);
        r->failed = true;
        return false;
    }
    bool ok = n == t->count;
    if (!ok) printf("    FAIL %s: %lld values, the file has %lld\n", name, (long long)n, (long long)t->count);
    ok = ok && compare_values(r, t, got);
    entry *e = &r->entries[t - golden_at(r->f, 0)];
    if (!ok || e->is != VERDICT_FAIL) e->is = ok ? VERDICT_OK : VERDICT_FAIL;
    r->failed = r->failed || !ok;
    return ok;
}

bool golden_comparef(golden_report *r, const float *got, int64_t n, const char *fmt, ...)
{
    char name[MSA_TENSOR_NAME_MAX + 1];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return golden_compare(r, name, got, n);
}

void golden_skip(golden_report *r, const char *name, const char *reason)
{
    const msa_tensor *t = golden_find(r->f, name);
    if (t == NULL) return;
    entry *e = &r->entries[t - golden_at(r->f, 0)];
    if (e->is == VERDICT_NONE) *e = (entry){VERDICT_SKIP, reason};
}

void golden_skip_prefix(golden_report *r, const char *prefix, const char *reason)
{
    for (int32_t i = 0; i < golden_count(r->f); i++) {
        const char *name = golden_at(r->f, i)->name;
        if (is_claim(name) && begins(name, prefix)) golden_skip(r, name, reason);
    }
}

void golden_fail(golden_report *r, const char *sentence)
{
    printf("    FAIL %s\n", sentence);
    r->failed = true;
}

/* ---- printing ---- */

/* "out.block.1.norm1" belongs to "out.block"; a name of two parts to its first. */
static size_t group_length(const char *name)
{
    const char *first = strchr(name, '.');
    const char *second = first == NULL ? NULL : strchr(first + 1, '.');
    return second != NULL ? (size_t)(second - name) : first != NULL ? (size_t)(first - name) : strlen(name);
}

typedef struct skipped {
    const char *name, *reason;
} skipped;

static int by_reason(const void *a, const void *b)
{
    const skipped *x = a, *y = b;
    const int reason = strcmp(x->reason, y->reason);
    return reason != 0 ? reason : strcmp(x->name, y->name);
}

static bool same_group(const skipped *a, const skipped *b)
{
    const size_t n = group_length(a->name);
    return strcmp(a->reason, b->reason) == 0 && n == group_length(b->name) &&
           strncmp(a->name, b->name, n) == 0;
}

static void print_skipped(FILE *to, skipped *list, int32_t n)
{
    qsort(list, (size_t)n, sizeof *list, by_reason);
    for (int32_t i = 0, end = 0; i < n; i = end) {
        for (end = i + 1; end < n && same_group(&list[i], &list[end]);)
            end++;
        if (end == i + 1)
            fprintf(to, "    skipped 1 %s: %s\n", list[i].name, list[i].reason);
        else
            fprintf(to, "    skipped %d %.*s.*: %s\n", end - i, (int)group_length(list[i].name), list[i].name,
                    list[i].reason);
    }
}

bool golden_report_finish(golden_report *r, FILE *to)
{
    const int32_t n = golden_count(r->f);
    const char *slash = strrchr(golden_path(r->f), '/'),
               *base = slash == NULL ? golden_path(r->f) : slash + 1;
    const int length =
        (int)(ends(base, ".safetensors") ? strlen(base) - strlen(".safetensors") : strlen(base));
    int32_t checked = 0, n_skipped = 0;
    skipped *list = calloc((size_t)n + 1, sizeof *list);
    if (list == NULL) return false;
    for (int32_t i = 0; i < n; i++) {
        const entry *e = &r->entries[i];
        const char *name = golden_at(r->f, i)->name;
        if (e->is == VERDICT_OK || e->is == VERDICT_FAIL) checked++;
        if (e->is == VERDICT_SKIP) list[n_skipped++] = (skipped){name, e->reason};
        if (e->is == VERDICT_NONE && is_claim(name)) list[n_skipped++] = (skipped){name, REASON_DEFAULT};
    }
    fprintf(to, "%.*s max_abs_err=%.3g checked=%d skipped=%d %s\n", length, base, r->worst, checked,
            n_skipped, r->failed ? "FAIL" : "ok");
    print_skipped(to, list, n_skipped);
    free(list);
    return !r->failed;
}
