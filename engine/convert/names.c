#include "engine/convert/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void msa_names_release(msa_names *names)
{
    free(names->list);
    *names = (msa_names){0};
}

/* ---- from their names to ours ---- */

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Where the part of the network is named, after whatever a file has before it; NULL: nowhere. */
static const char *find_part(const char *name)
{
    static const char *const parts[] = {"image_encoder.", "prompt_encoder.", "mask_decoder."};
    for (const char *p = name; p != NULL; p = strchr(p, '.')) {
        p += *p == '.';
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            if (starts(p, parts[i])) return p;
    }
    return NULL;
}

/* A file of an image encoder alone names no part: it is told by what every encoder has. */
static const char *find_lone_encoder(const char *name)
{
    static const char *const roots[] = {"patch_embed.", "pos_embed", "blocks.", "neck."};
    for (const char *p = name; p != NULL; p = strchr(p, '.')) {
        p += *p == '.';
        for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
            if (starts(p, roots[i])) return p;
    }
    return NULL;
}

static const struct {
    const char *in, *theirs, *ours;
} renames[] = {
    {"image_encoder.blocks.", ".attn.rel_h", ".attn.rel_pos_h"},
    {"image_encoder.blocks.", ".attn.rel_w", ".attn.rel_pos_w"},
    {"image_encoder.blocks.", ".mlp.fc1.", ".mlp.lin1."},
    {"image_encoder.blocks.", ".mlp.fc2.", ".mlp.lin2."},
    {"mask_decoder.transformer.layers.", ".mlp.layers.0.0.", ".mlp.lin1."},
    {"mask_decoder.transformer.layers.", ".mlp.fc.", ".mlp.lin2."},
};

/* n->name is n's own buffer, longer names having been refused by the reader of the file. */
static void rename_one(msa_named *n)
{
    char new[sizeof n->name + 32];
    for (size_t i = 0; i < sizeof renames / sizeof renames[0]; i++) {
        const char *at = starts(n->name, renames[i].in) ? strstr(n->name, renames[i].theirs) : NULL;
        if (at == NULL) continue;
        (void)snprintf(new, sizeof new, "%.*s%s%s", (int)(at - n->name), n->name, renames[i].ours,
                       at + strlen(renames[i].theirs));
        (void)snprintf(n->name, sizeof n->name, "%.*s", (int)sizeof n->name - 1, new);
        n->renamed = true;
        return;
    }
}

static void name_it(msa_named *n, const msa_checkpoint_tensor *t, bool lone_encoder)
{
    const char *part = find_part(t->name),
               *root = part != NULL || !lone_encoder ? NULL : find_lone_encoder(t->name);
    n->tensor = t;
    n->known = part != NULL || root != NULL;
    if (root != NULL)
        (void)snprintf(n->name, sizeof n->name, "image_encoder.%.*s", MSA_TENSOR_NAME_MAX - 20, root);
    else
        (void)snprintf(n->name, sizeof n->name, "%s", part != NULL ? part : t->name);
    if (n->known) rename_one(n);
}

/* ---- the list ---- */

static bool is_meant(const msa_checkpoint_tensor *t, const char *prefix)
{
    return prefix == NULL || starts(t->name, prefix);
}

static void add_file(msa_names *names, const msa_checkpoint *file, bool of_base, const char *prefix)
{
    bool parts = false;
    for (int32_t i = 0; i < msa_checkpoint_count(file); i++)
        parts = parts || (is_meant(msa_checkpoint_at(file, i), prefix) &&
                          find_part(msa_checkpoint_at(file, i)->name) != NULL);
    for (int32_t i = 0; i < msa_checkpoint_count(file); i++) {
        if (!is_meant(msa_checkpoint_at(file, i), prefix)) continue;
        msa_named *n = &names->list[names->n++];
        n->of_base = of_base;
        name_it(n, msa_checkpoint_at(file, i), !parts);
    }
}

static int by_name_and_file(const void *a, const void *b)
{
    const msa_named *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order != 0 ? order : x->of_base - y->of_base;
}

msa_status msa_names_make(msa_names *out, const msa_checkpoint *file, const msa_checkpoint *base,
                          const char *prefix, msa_error *err)
{
    const int32_t room = msa_checkpoint_count(file) + (base != NULL ? msa_checkpoint_count(base) : 0);
    int32_t kept = 0;
    *out = (msa_names){.list = calloc((size_t)room + 1, sizeof *out->list)};
    if (out->list == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a list of names");
    add_file(out, file, false, prefix);
    if (base != NULL) add_file(out, base, true, NULL);
    qsort(out->list, (size_t)out->n, sizeof *out->list, by_name_and_file);
    for (int32_t i = 0; i < out->n; i++) {
        const msa_named *last = kept > 0 ? &out->list[kept - 1] : NULL, *n = &out->list[i];
        const bool again = last != NULL && strcmp(last->name, n->name) == 0;
        if (again && last->of_base == n->of_base)
            return msa_fail(err, MSA_E_PARSE,
                            "%.70s and %.70s are the same tensor: tell with --prefix which is meant",
                            last->tensor->name, n->tensor->name);
        if (!again) out->list[kept++] = *n;
    }
    out->n = kept;
    return MSA_OK;
}

static int by_name(const void *a, const void *b)
{
    const msa_named *y = b;
    return strcmp(a, y->name);
}

msa_named *msa_names_find(const msa_names *names, const char *name)
{
    return bsearch(name, names->list, (size_t)names->n, sizeof *names->list, by_name);
}

msa_named *msa_names_findf(const msa_names *names, const char *fmt, ...)
{
    char name[MSA_TENSOR_NAME_MAX + 1];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return msa_names_find(names, name);
}

int32_t msa_names_axis(const msa_named *n, int32_t i)
{
    if (n == NULL || i >= n->tensor->rank || n->tensor->shape[i] > INT32_MAX) return 0;
    return (int32_t)n->tensor->shape[i];
}
