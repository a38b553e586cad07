#include "server/tool/train_cases.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "dicom/header.h"
#include "engine/base/hash.h"

void srv_train_cases_clear(srv_train_cases *c)
{
    for (int32_t i = 0; i < c->n; i++)
        msa_case_free(c->list[i].read);
    for (int32_t i = 0; i < c->n_places; i++)
        srv_places_clear(&c->places[i]);
    free(c->list);
    free(c->patients);
    free(c->places);
    *c = (srv_train_cases){0};
}

static msa_status no_memory(msa_error *err)
{
    return msa_fail(err, MSA_E_NOMEM, "out of memory for the cases");
}

/* ---- a series and its label objects to a case ---- */

typedef struct layers {
    size_t voxels;
    int32_t n;
    uint16_t *labels; /* (n, D, H, W) */
    msa_label_name *names;
    int32_t n_names;
    uint8_t *mask; /* (D, H, W) */
} layers;

static void layers_clear(layers *l)
{
    free(l->labels);
    free(l->names);
    free(l->mask);
}

static bool collides(const layers *l, int32_t layer)
{
    const uint16_t *labels = l->labels + (size_t)layer * l->voxels;
    for (size_t i = 0; i < l->voxels; i++)
        if (l->mask[i] && labels[i] != 0) return true;
    return false;
}

static msa_status grow_layers(layers *l, msa_error *err)
{
    if ((size_t)l->n + 1 > SIZE_MAX / sizeof *l->labels / l->voxels) return no_memory(err);
    uint16_t *grown = realloc(l->labels, ((size_t)l->n + 1) * l->voxels * sizeof *grown);
    if (!grown) return no_memory(err);
    memset(grown + (size_t)l->n * l->voxels, 0, l->voxels * sizeof *grown);
    l->labels = grown;
    l->n++;
    return MSA_OK;
}

/* The mask into the first layer where it covers nothing else: a tumour does not bite a hole into its organ.
 */
static msa_status add_mask(layers *l, const char *name, msa_error *err)
{
    int32_t layer = 0;
    while (layer < l->n && collides(l, layer))
        layer++;
    if (layer == l->n) MSA_TRY(grow_layers(l, err));
    msa_label_name *to = &l->names[l->n_names];
    *to = (msa_label_name){.value = (uint16_t)(l->n_names + 1), .layer = (uint16_t)layer};
    (void)snprintf(to->name, sizeof to->name, "%.*s", (int)sizeof to->name - 1, name);
    uint16_t *labels = l->labels + (size_t)layer * l->voxels;
    for (size_t i = 0; i < l->voxels; i++)
        if (l->mask[i]) labels[i] = to->value;
    l->n_names++;
    return MSA_OK;
}

static msa_status collect_masks(layers *l, const srv_case *c, msa_error *err)
{
    l->voxels = (size_t)c->volume.D * (size_t)c->volume.H * (size_t)c->volume.W;
    l->mask = malloc(l->voxels);
    l->names = calloc(c->n + 1, sizeof *l->names);
    if (!l->mask || !l->names) return no_memory(err);
    for (size_t i = 0; i < c->n && l->n_names < UINT16_MAX; i++) {
        int64_t voxels = 0;
        MSA_TRY(srv_case_mask(c, i, l->mask, &voxels, err));
        if (voxels > 0) MSA_TRY(add_mask(l, c->labels[i].name, err));
    }
    return MSA_OK;
}

/* *out stays NULL when nothing of the series is labelled. */
static msa_status convert(msa_case **out, const srv_case *c, msa_error *err)
{
    __attribute__((cleanup(layers_clear))) layers l = {0};
    const int32_t size[3] = {c->volume.D, c->volume.H, c->volume.W};
    const float spacing[3] = {(float)c->spacing_mm[0], (float)c->spacing_mm[1], (float)c->spacing_mm[2]};
    MSA_TRY(collect_masks(&l, c, err));
    if (l.n_names == 0) return MSA_OK;
    float *voxels = malloc(l.voxels * sizeof *voxels);
    if (!voxels) return no_memory(err);
    memcpy(voxels, c->volume.voxels, l.voxels * sizeof *voxels);
    return msa_case_new(out, c->name, size, spacing, strcmp(c->modality, "CT") == 0, voxels,
                        MSA_STEAL(l.labels), l.n, l.names, l.n_names, err);
}

static msa_status read_series(msa_case **out, const srv_place *place, const srv_places *places,
                              msa_error *err)
{
    __attribute__((cleanup(srv_case_close))) srv_case c = {0};
    MSA_TRY(srv_case_open(&c, place, places, err));
    msa_error why = MSA_ERROR_INIT;
    const msa_status status = convert(out, &c, &why);
    return status == MSA_OK ? MSA_OK : msa_fail(err, status, "case %.60s: %.150s", c.name, why.what);
}

/* ---- finding ---- */

/* A number for each patient. */
static msa_status number_patient(srv_train_cases *c, srv_train_case *one, msa_error *err)
{
    char key[DICOM_PATIENT_KEY];
    if (srv_place_is_nifti(one->place))
        msa_sha256_bytes(one->place->patient, strlen(one->place->patient), NULL, key);
    else
        MSA_TRY(dicom_patient_key(key, one->place->images.list[0], err));
    for (one->patient = 1; one->patient <= c->n_patients; one->patient++)
        if (strcmp(c->patients[one->patient - 1], key) == 0) return MSA_OK;
    char(*grown)[DICOM_PATIENT_KEY] = realloc(c->patients, ((size_t)c->n_patients + 1) * sizeof *grown);
    if (!grown) return no_memory(err);
    c->patients = grown;
    memcpy(c->patients[c->n_patients++], key, sizeof key);
    return MSA_OK;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_place(const srv_place *a, const srv_place *b)
{
    return same_text(a->folder, b->folder) && same_text(a->image, b->image) && a->channel == b->channel &&
           strcmp(a->series_uid, b->series_uid) == 0;
}

/* The folder's own name, and what lies where in it. */
static void name_case(const srv_train_cases *c, srv_train_case *one, const char *root)
{
    const char *folder = strrchr(root, '/') ? strrchr(root, '/') + 1 : root;
    const bool itself = strcmp(one->place->name, folder) == 0 || *folder == '\0';
    char full[SRV_CASE_NAME - 16];
    int same = 1;
    (void)snprintf(full, sizeof full, "%.100s%s%.130s", itself ? "" : folder, itself ? "" : "/",
                   one->place->name);
    (void)snprintf(one->name, sizeof one->name, "%s", full);
    for (int32_t i = 0; i < c->n; i++)
        if (strcmp(c->list[i].name, one->name) == 0)
            (void)snprintf(one->name, sizeof one->name, "%s (%d)", full, ++same);
}

static msa_status take_place(srv_train_cases *c, const srv_place *place, const srv_places *places,
                             const char *root, bool keep, msa_error *err)
{
    MSA_AUTO(msa_case) read = NULL;
    for (int32_t i = 0; i < c->n; i++)
        if (same_place(c->list[i].place, place)) return MSA_OK;
    if (!srv_place_is_nifti(place)) {
        MSA_TRY(read_series(&read, place, places, err));
        if (!read) return MSA_OK; /* a series that nobody has labelled */
    }
    srv_train_case *grown = realloc(c->list, ((size_t)c->n + 1) * sizeof *grown);
    if (!grown) return no_memory(err);
    c->list = grown;
    srv_train_case *one = &c->list[c->n];
    *one = (srv_train_case){.place = place, .places = places};
    name_case(c, one, root);
    MSA_TRY(number_patient(c, one, err));
    if (keep) one->read = MSA_STEAL(read);
    c->n++;
    return MSA_OK;
}

msa_status srv_train_cases_find(srv_train_cases *c, const char *const *folders, int32_t n, bool keep,
                                msa_error *err)
{
    *c = (srv_train_cases){.places = calloc((size_t)n + 1, sizeof *c->places)};
    if (!c->places) return no_memory(err);
    for (int32_t k = 0; k < n; k++) {
        srv_places *places = &c->places[c->n_places++];
        const int32_t before = c->n;
        char root[PATH_MAX];
        MSA_TRY(srv_places_find(places, folders[k], err));
        if (!realpath(folders[k], root)) return msa_fail(err, MSA_E_IO, "%.150s is gone", folders[k]);
        for (size_t i = 0; i < places->n; i++)
            MSA_TRY(take_place(c, &places->list[i], places, root, keep, err));
        if (c->n == before)
            return msa_fail(
                err, MSA_E_NOT_FOUND,
                "below %.100s there is no case (or none that another folder has not): a series with "
                "a SEG or RTSTRUCT, or images with labels",
                folders[k]);
    }
    return MSA_OK;
}

/* ---- handing over ---- */

static msa_status open_case(void *ctx, int32_t number, msa_case **out, msa_error *err)
{
    const srv_train_side *side = ctx;
    srv_train_case *one = side->cases->list;
    *out = NULL;
    for (; one->validation != side->validation || number-- > 0;)
        one++;
    if (one->read) {
        *out = MSA_STEAL(one->read);
        return MSA_OK;
    }
    msa_error why = MSA_ERROR_INIT;
    if (!srv_place_is_nifti(one->place)) {
        MSA_TRY(read_series(out, one->place, one->places, err));
        if (*out) return MSA_OK;
        return msa_fail(err, MSA_E_NOT_FOUND, "case %.60s is not labelled any more", one->name);
    }
    const msa_status status = srv_place_read(out, one->place, &why);
    return status == MSA_OK ? MSA_OK : msa_fail(err, status, "case %.60s: %.150s", one->name, why.what);
}

msa_case_set srv_train_cases_set(srv_train_cases *c, bool validation, srv_train_side *side)
{
    int32_t n = 0;
    for (int32_t i = 0; i < c->n; i++)
        n += c->list[i].validation == validation;
    *side = (srv_train_side){.cases = c, .validation = validation};
    return (msa_case_set){.n = n, .open = open_case, .ctx = side};
}
