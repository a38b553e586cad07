/* A volume and its label maps, from arrays, files or a folder. */
#include "engine/cases.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/label_json.h"
#include "engine/io/nifti.h"

void msa_case_free(msa_case *c)
{
    if (!c) return;
    free(c->voxels);
    free(c->labels);
    free(c->names);
    free(c);
}

static msa_status check_case(const msa_case *c, msa_error *err)
{
    const int64_t n = (int64_t)c->depth * c->rows * c->cols;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(c->voxels[i]))
            return msa_fail(err, MSA_E_INVALID, "the volume holds a value that is not finite");
    for (int k = 0; k < 3; k++)
        if (!(c->spacing_mm[k] > 1e-3F && c->spacing_mm[k] < 1e3F))
            return msa_fail(err, MSA_E_INVALID, "a voxel of the volume is %g mm wide",
                            (double)c->spacing_mm[k]);
    return MSA_OK;
}

msa_status msa_case_new(msa_case **out, const char *name, const int32_t size[3], const float spacing_mm[3],
                        bool ct, float *voxels, uint16_t *labels, int32_t n_layers,
                        const msa_label_name *names, int32_t n_names, msa_error *err)
{
    *out = NULL;
    MSA_AUTO(msa_case) c = calloc(1, sizeof *c);
    if (!c) {
        free(voxels);
        free(labels);
        return msa_fail(err, MSA_E_NOMEM, "out of memory for a volume");
    }
    *c = (msa_case){.depth = size[0],
                    .rows = size[1],
                    .cols = size[2],
                    .n_layers = n_layers,
                    .ct = ct,
                    .voxels = voxels,
                    .labels = labels};
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    memcpy(c->spacing_mm, spacing_mm, sizeof c->spacing_mm);
    for (int k = 0; k < 3; k++)
        if (size[k] < 1 || size[k] > MSA_NIFTI_SIDE_MAX)
            return msa_fail(err, MSA_E_INVALID, "axis %d of the volume is %d long", k, size[k]);
    if (n_layers < 1 || n_layers > UINT16_MAX)
        return msa_fail(err, MSA_E_INVALID, "a case has 1 to %d layers of labels, not %d", UINT16_MAX,
                        n_layers);
    if (!voxels || !labels) return msa_fail(err, MSA_E_INVALID, "a case needs voxels and labels");
    MSA_TRY(check_case(c, err));
    if (n_names > 0) {
        c->names = malloc((size_t)n_names * sizeof *c->names);
        if (!c->names) return msa_fail(err, MSA_E_NOMEM, "out of memory for label names");
        memcpy(c->names, names, (size_t)n_names * sizeof *names);
        c->n_names = n_names;
    }
    *out = MSA_STEAL(c);
    return MSA_OK;
}

bool msa_case_hold_out(msa_case *c, const char *label)
{
    bool found = false;
    for (int32_t k = 0; k < c->n_names; k++)
        if (strcmp(c->names[k].name, label) == 0) found = c->names[k].held_out = true;
    return found;
}

/* ---- NIfTI files ---- */

static msa_status same_place(const msa_nifti *a, const msa_nifti *b, msa_error *err)
{
    if (a->depth != b->depth || a->rows != b->rows || a->cols != b->cols)
        return msa_fail(err, MSA_E_PARSE, "the image is %d x %d x %d, its label map %d x %d x %d", a->cols,
                        a->rows, a->depth, b->cols, b->rows, b->depth);
    const double side[4] = {a->cols, a->rows, a->depth, 1};
    for (int k = 0; k < 12; k++) /* half a voxel, over the whole axis: files round their matrices */
        if (fabs(a->affine[k] - b->affine[k]) * side[k % 4] > 0.5 * (double)a->spacing_mm[2])
            return msa_fail(err, MSA_E_PARSE, "the label map does not lie where its image lies");
    return MSA_OK;
}

/* Air, or fat where it is known to be a CT: fields that hold no air are met. */
static bool looks_like_ct(const float *v, int64_t n, bool said)
{
    const float below = said ? -50 : -500;
    for (int64_t i = 0; i < n; i++)
        if (v[i] < below) return true;
    return false;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* said_ct: dataset.json calls the image a CT. */
static msa_status read_names(const msa_case_files *files, msa_label_name **out, int32_t *n, bool *said_ct,
                             msa_error *err)
{
    msa_label_entry *read = NULL;
    msa_error own = MSA_ERROR_INIT;
    *out = NULL;
    *n = 0;
    *said_ct = false;
    if (!files->names) return MSA_OK;
    const msa_status status =
        ends_with(files->names, "/dataset.json")
            ? msa_dataset_json_read(&read, n, said_ct, files->modality, files->names, &own)
            : msa_label_json_read(&read, n, files->names, &own);
    MSA_AUTO_FREE msa_label_entry *list = read;
    if (status == MSA_E_NOT_FOUND) return MSA_OK;
    if (status != MSA_OK) return msa_fail(err, status, "%s", own.what);
    *out = calloc((size_t)*n + 1, sizeof **out);
    if (!*out) return msa_fail(err, MSA_E_NOMEM, "out of memory for label names");
    for (int32_t k = 0; k < *n; k++) {
        (*out)[k].value = list[k].value;
        memcpy((*out)[k].name, list[k].name, sizeof list[k].name);
    }
    return MSA_OK;
}

msa_status msa_case_channels(int32_t *n, const char *image, msa_error *err)
{
    return msa_nifti_volumes(n, image, err);
}

msa_status msa_case_read(msa_case **out, const msa_case_files *files, msa_error *err)
{
    MSA_AUTO(msa_nifti) image = NULL;
    MSA_AUTO(msa_nifti) map = NULL;
    MSA_AUTO_FREE msa_label_name *names = NULL;
    int32_t n_names = 0;
    bool said_ct;
    *out = NULL;
    MSA_TRY(msa_nifti_read_volume(&image, files->image, files->channel, err));
    MSA_TRY(msa_nifti_read(&map, files->label, true, err));
    MSA_TRY(same_place(image, map, err));
    MSA_TRY(read_names(files, &names, &n_names, &said_ct, err));
    const int32_t size[3] = {image->depth, image->rows, image->cols};
    const bool ct = looks_like_ct(image->voxels, (int64_t)size[0] * size[1] * size[2], said_ct);
    return msa_case_new(out, files->name, size, image->spacing_mm, ct, MSA_STEAL(image->voxels),
                        MSA_STEAL(map->labels), 1, names, n_names, err);
}

/* ---- a folder ---- */

static void dir_free(DIR *d)
{
    if (d) (void)closedir(d);
}
MSA_DEFINE_AUTO(DIR, dir_free);

static bool is_nifti(const char *name)
{
    const size_t n = strlen(name);
    return name[0] != '.' &&
           ((n > 4 && strcmp(name + n - 4, ".nii") == 0) || (n > 7 && strcmp(name + n - 7, ".nii.gz") == 0));
}

enum { NAME_ROOM = 256, PATH_ROOM = 4096 };

/* The label map by its name, the image because it is the only other one. */
static msa_status find_pair(const char *folder, char image[NAME_ROOM], char labels[NAME_ROOM], msa_error *err)
{
    MSA_AUTO(DIR) dir = opendir(folder);
    const struct dirent *e;
    if (!dir)
        return msa_fail(err, errno == ENOENT ? MSA_E_NOT_FOUND : MSA_E_IO,
                        "the folder of a case cannot be read: %s", strerror(errno));
    image[0] = labels[0] = '\0';
    while ((e = readdir(dir))) {
        if (!is_nifti(e->d_name)) continue;
        const bool map = strcmp(e->d_name, "labels.nii") == 0 || strcmp(e->d_name, "labels.nii.gz") == 0;
        char *to = map ? labels : image;
        if (to[0] != '\0')
            return msa_fail(err, MSA_E_PARSE, "the folder of a case holds two NIfTI %s",
                            map ? "label maps" : "images");
        (void)snprintf(to, NAME_ROOM, "%s", e->d_name);
    }
    if (labels[0] == '\0')
        return msa_fail(err, MSA_E_NOT_FOUND, "the folder of a case holds no labels.nii.gz");
    if (image[0] == '\0')
        return msa_fail(err, MSA_E_NOT_FOUND,
                        "the folder of a case holds no NIfTI image beside labels.nii.gz");
    return MSA_OK;
}

static const char *last_part(const char *folder, char room[NAME_ROOM])
{
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && folder[start - 1] != '/')
        start--;
    (void)snprintf(room, NAME_ROOM, "%.*s", (int)(end - start), folder + start);
    return room;
}

msa_status msa_case_load(msa_case **out, const char *folder, msa_error *err)
{
    char image_name[NAME_ROOM], labels_name[NAME_ROOM], name[NAME_ROOM];
    char image[PATH_ROOM], label[PATH_ROOM], names[PATH_ROOM];
    *out = NULL;
    if (strlen(folder) > PATH_ROOM - NAME_ROOM - 2)
        return msa_fail(err, MSA_E_INVALID, "the folder of a case has too long a name");
    MSA_TRY(find_pair(folder, image_name, labels_name, err));
    (void)snprintf(image, sizeof image, "%s/%s", folder, image_name);
    (void)snprintf(label, sizeof label, "%s/%s", folder, labels_name);
    (void)snprintf(names, sizeof names, "%s/labels.json", folder);
    const msa_case_files files = {
        .name = last_part(folder, name), .image = image, .label = label, .names = names};
    return msa_case_read(out, &files, err);
}
