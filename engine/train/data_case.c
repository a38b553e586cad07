/* A volume and its label map, from a folder or from arrays. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/label_json.h"
#include "engine/io/nifti.h"
#include "engine/train/data.h"

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
                        bool ct, float *voxels, uint16_t *labels, const msa_label_name *names,
                        int32_t n_names, msa_error *err)
{
    *out = NULL;
    MSA_AUTO(msa_case) c = calloc(1, sizeof *c);
    if (!c) {
        free(voxels);
        free(labels);
        return msa_fail(err, MSA_E_NOMEM, "out of memory for a volume");
    }
    *c = (msa_case){
        .depth = size[0], .rows = size[1], .cols = size[2], .ct = ct, .voxels = voxels, .labels = labels};
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    memcpy(c->spacing_mm, spacing_mm, sizeof c->spacing_mm);
    for (int k = 0; k < 3; k++)
        if (size[k] < 1 || size[k] > MSA_NIFTI_SIDE_MAX)
            return msa_fail(err, MSA_E_INVALID, "axis %d of the volume is %d long", k, size[k]);
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

enum { NAME_ROOM = 256 };

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

static bool looks_like_ct(const float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (v[i] < -500) return true;
    return false;
}

static msa_status read_names(const char *folder, msa_label_name **out, int32_t *n, msa_error *err)
{
    char path[4096];
    msa_label_entry *read;
    msa_error own = MSA_ERROR_INIT;
    *out = NULL;
    (void)snprintf(path, sizeof path, "%s/labels.json", folder);
    const msa_status status = msa_label_json_read(&read, n, path, &own);
    MSA_AUTO_FREE msa_label_entry *list = read;
    if (status == MSA_E_NOT_FOUND) return MSA_OK;
    if (status != MSA_OK) return msa_fail(err, status, "%s", own.what);
    *out = calloc((size_t)*n, sizeof **out);
    if (!*out) return msa_fail(err, MSA_E_NOMEM, "out of memory for label names");
    for (int32_t k = 0; k < *n; k++) {
        (*out)[k].value = list[k].value;
        memcpy((*out)[k].name, list[k].name, sizeof list[k].name);
    }
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
    char image_name[NAME_ROOM], labels_name[NAME_ROOM], name[NAME_ROOM], path[4096];
    MSA_AUTO(msa_nifti) image = NULL;
    MSA_AUTO(msa_nifti) map = NULL;
    MSA_AUTO_FREE msa_label_name *names = NULL;
    int32_t n_names = 0;
    *out = NULL;
    if (strlen(folder) > sizeof path - NAME_ROOM - 2)
        return msa_fail(err, MSA_E_INVALID, "the folder of a case has too long a name");
    MSA_TRY(find_pair(folder, image_name, labels_name, err));
    (void)snprintf(path, sizeof path, "%s/%s", folder, image_name);
    MSA_TRY(msa_nifti_read(&image, path, false, err));
    (void)snprintf(path, sizeof path, "%s/%s", folder, labels_name);
    MSA_TRY(msa_nifti_read(&map, path, true, err));
    MSA_TRY(same_place(image, map, err));
    MSA_TRY(read_names(folder, &names, &n_names, err));
    const int32_t size[3] = {image->depth, image->rows, image->cols};
    const bool ct = looks_like_ct(image->voxels, (int64_t)size[0] * size[1] * size[2]);
    return msa_case_new(out, last_part(folder, name), size, image->spacing_mm, ct, MSA_STEAL(image->voxels),
                        MSA_STEAL(map->labels), names, n_names, err);
}
