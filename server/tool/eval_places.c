/* Which folders hold a case. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dicom/header.h"
#include "engine/cases.h"
#include "server/tool/cases.h"

#define SEG_CLASS      "1.2.840.10008.5.1.4.1.1.66.4"
#define RTSTRUCT_CLASS "1.2.840.10008.5.1.4.1.1.481.3"

enum { LEVELS_MAX = 32, FILES_MAX = 100000 };

static void paths_clear(srv_paths *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->list[i]);
    free(p->list);
    *p = (srv_paths){0};
}

void srv_places_clear(srv_places *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->list[i].folder);
        free(p->list[i].image);
        free(p->list[i].label);
        free(p->list[i].names);
        paths_clear(&p->list[i].images);
    }
    free(p->list);
    paths_clear(&p->segs);
    paths_clear(&p->rtstructs);
    *p = (srv_places){0};
}

static msa_status no_memory(msa_error *err)
{
    return msa_fail(err, MSA_E_NOMEM, "out of memory for the list of cases");
}

static msa_status paths_add(srv_paths *p, const char *path, msa_error *err)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->list[i], path) == 0) return MSA_OK;
    if (p->n == p->room) {
        const size_t room = p->room ? 2 * p->room : 64;
        char **grown = realloc(p->list, room * sizeof *grown);
        if (!grown) return no_memory(err);
        p->list = grown;
        p->room = room;
    }
    p->list[p->n] = strdup(path);
    if (!p->list[p->n]) return no_memory(err);
    p->n++;
    return MSA_OK;
}

typedef struct scan {
    srv_places *p;
    const char *root, *root_name;
    bool references_only;
    int32_t files;
} scan;

/* As seen from the root; the root by its own name; a second series of one folder gets a number. */
static void name_place(const scan *s, srv_place *place, const char *folder)
{
    const char *below = folder + strlen(s->root);
    char base[SRV_CASE_NAME - 16];
    int same = 1;
    while (*below == '/')
        below++;
    (void)snprintf(base, sizeof base, "%s", *below ? below : s->root_name);
    (void)snprintf(place->name, sizeof place->name, "%s", base);
    for (size_t i = 0; i + 1 < s->p->n; i++)
        if (strcmp(s->p->list[i].name, place->name) == 0)
            (void)snprintf(place->name, sizeof place->name, "%s (%d)", base, ++same);
}

static msa_status place_add(scan *s, const char *folder, srv_place **out, msa_error *err)
{
    srv_places *p = s->p;
    if (p->n == p->room) {
        const size_t room = p->room ? 2 * p->room : 16;
        srv_place *grown = realloc(p->list, room * sizeof *grown);
        if (!grown) return no_memory(err);
        p->list = grown;
        p->room = room;
    }
    *out = &p->list[p->n++];
    **out = (srv_place){0};
    name_place(s, *out, folder);
    return MSA_OK;
}

static msa_status take_image(scan *s, const char *folder, const char *path, const char *series_uid,
                             msa_error *err)
{
    srv_place *place = NULL;
    for (size_t i = 0; i < s->p->n; i++)
        if (strcmp(s->p->list[i].series_uid, series_uid) == 0) place = &s->p->list[i];
    if (!place) {
        MSA_TRY(place_add(s, folder, &place, err));
        (void)snprintf(place->series_uid, sizeof place->series_uid, "%s", series_uid);
    }
    return paths_add(&place->images, path, err);
}

/* What is no DICOM object of ours is none of our business: a folder may hold anything. */
static msa_status take_file(scan *s, const char *folder, const char *path, msa_error *err)
{
    dicom_header h;
    if (++s->files > FILES_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "there are more than %d files below the folder", FILES_MAX);
    if (dicom_header_read(&h, path, NULL) != MSA_OK) return MSA_OK;
    if (h.kind == DICOM_KIND_IMAGE)
        return s->references_only ? MSA_OK : take_image(s, folder, path, h.series_uid, err);
    if (strcmp(h.sop_class_uid, SEG_CLASS) == 0) return paths_add(&s->p->segs, path, err);
    if (strcmp(h.sop_class_uid, RTSTRUCT_CLASS) == 0) return paths_add(&s->p->rtstructs, path, err);
    return MSA_OK;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name);
    const size_t m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

static msa_status take_nifti(scan *s, const char *folder, const char *name, msa_error *err)
{
    srv_place *place = NULL;
    if (s->references_only || (strcmp(name, "labels.nii.gz") != 0 && strcmp(name, "labels.nii") != 0))
        return MSA_OK;
    MSA_TRY(place_add(s, folder, &place, err));
    (void)snprintf(place->patient, sizeof place->patient, "%s", strrchr(folder, '/') + 1);
    place->folder = strdup(folder);
    return place->folder ? MSA_OK : no_memory(err);
}

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

typedef struct entries {
    struct dirent **list;
    int n;
} entries;

static void entries_clear(entries *e)
{
    for (int i = 0; i < e->n; i++)
        free(e->list[i]);
    free(e->list);
}

/* ---- sets: images in one folder, labels in another ---- */

static const struct layout {
    const char *images, *labels;             /* folders */
    const char *image_prefix, *label_prefix; /* of files */
} layouts[] = {
    {"imagesTr", "labelsTr", "", ""}, /* Decathlon, AMOS, nnU-Net */
    {"imagesVa", "labelsVa", "", ""},
    {"imagesTs", "labelsTs", "", ""},
    {"img", "label", "img", "label"}, /* BTCV */
};

enum { N_LAYOUTS = sizeof layouts / sizeof layouts[0] };

static bool has(const entries *e, const char *name)
{
    for (int i = 0; i < e->n; i++)
        if (strcmp(e->list[i]->d_name, name) == 0) return true;
    return false;
}

/* Files that are a set's are looked at as such only. */
static bool of_a_set(const entries *e, const char *name)
{
    for (int k = 0; k < N_LAYOUTS; k++) {
        const struct layout *l = &layouts[k];
        if ((strcmp(name, l->images) == 0 || strcmp(name, l->labels) == 0) && has(e, l->images) &&
            has(e, l->labels))
            return true;
    }
    return false;
}

/* folder/dir/prefix + stem + suffix + .nii.gz or .nii; false: there is none. */
static bool find_image(char path[PATH_MAX], const char *folder, const struct layout *l, const char *stem,
                       const char *suffix)
{
    static const char *const ends[] = {".nii.gz", ".nii"};
    for (int k = 0; k < 2; k++) {
        const int n = snprintf(path, PATH_MAX, "%s/%s/%s%s%s%s", folder, l->images, l->image_prefix, stem,
                               suffix, ends[k]);
        if (n > 0 && n < PATH_MAX && access(path, R_OK) == 0) return true;
    }
    return false;
}

/* Names of the set's labels: labels.json goes before dataset.json. */
static char *names_of(const char *folder)
{
    static const char *const files[] = {"labels.json", "dataset.json"};
    char path[PATH_MAX];
    for (int k = 0; k < 2; k++) {
        const int n = snprintf(path, sizeof path, "%s/%s", folder, files[k]);
        if (n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0) return strdup(path);
    }
    return NULL;
}

/* Every volume of one image is a case. What cannot be read counts as one: opening it will say why. */
static msa_status add_volumes(scan *s, const char *folder, const char *image, const char *label,
                              const char *stem, int32_t modality, msa_error *err)
{
    char called[PATH_MAX];
    int32_t volumes = 1;
    if (msa_case_channels(&volumes, image, NULL) != MSA_OK) volumes = 1;
    (void)snprintf(called, sizeof called, "%.*s/%s", (int)(sizeof called - SRV_CASE_NAME), folder, stem);
    for (int32_t k = 0; k < volumes; k++) {
        srv_place *place = NULL;
        MSA_TRY(place_add(s, called, &place, err));
        (void)snprintf(place->patient, sizeof place->patient, "%s", stem);
        place->channel = k;
        place->modality = modality + k;
        place->image = strdup(image);
        place->label = strdup(label);
        place->names = names_of(folder);
        if (!place->image || !place->label) return no_memory(err);
    }
    return MSA_OK;
}

static msa_status take_label(scan *s, const char *folder, const struct layout *l, const char *file,
                             msa_error *err)
{
    enum { CHANNELS_MAX = 16 };
    char label[PATH_MAX], image[PATH_MAX], stem[NAME_MAX + 1], suffix[8];
    const size_t prefix = strlen(l->label_prefix);
    if ((!ends_with(file, ".nii") && !ends_with(file, ".nii.gz")) ||
        strncmp(file, l->label_prefix, prefix) != 0)
        return MSA_OK;
    if (++s->files > FILES_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "there are more than %d files below the folder", FILES_MAX);
    const int n = snprintf(label, sizeof label, "%s/%s/%s", folder, l->labels, file);
    if (n < 0 || (size_t)n >= sizeof label) return MSA_OK;
    (void)snprintf(stem, sizeof stem, "%s", file + prefix);
    *strstr(stem, ".nii") = '\0';
    if (find_image(image, folder, l, stem, "")) return add_volumes(s, folder, image, label, stem, 0, err);
    bool any = false;
    for (int32_t k = 0; k < CHANNELS_MAX; k++) {
        (void)snprintf(suffix, sizeof suffix, "_%04d", k);
        if (!find_image(image, folder, l, stem, suffix)) continue;
        MSA_TRY(add_volumes(s, folder, image, label, stem, k, err));
        any = true;
    }
    if (!any) (void)fprintf(stderr, "msa: %s/%s has no image in %s\n", l->labels, file, l->images);
    return MSA_OK;
}

static msa_status take_set(scan *s, const char *folder, const struct layout *l, msa_error *err)
{
    __attribute__((cleanup(entries_clear))) entries e = {0};
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, l->labels);
    if (n < 0 || (size_t)n >= sizeof path) return MSA_OK;
    e.n = scandir(path, &e.list, visible, alphasort);
    for (int i = 0; i < e.n; i++)
        MSA_TRY(take_label(s, folder, l, e.list[i]->d_name, err));
    return MSA_OK;
}

/* ---- the walk ---- */

/* levels: how many more folders deep. */
static msa_status scan_folder(scan *s, const char *folder, int levels, msa_error *err)
{
    __attribute__((cleanup(entries_clear))) entries e = {0};
    char path[PATH_MAX];
    e.n = scandir(folder, &e.list, visible, alphasort);
    if (e.n < 0)
        return msa_fail(err,
                        errno == ENOENT   ? MSA_E_NOT_FOUND
                        : errno == ENOMEM ? MSA_E_NOMEM
                                          : MSA_E_IO,
                        "cannot read the folder %.120s: %s", folder, strerror(errno));
    for (int k = 0; k < N_LAYOUTS && !s->references_only; k++)
        if (has(&e, layouts[k].images) && has(&e, layouts[k].labels))
            MSA_TRY(take_set(s, folder, &layouts[k], err));
    for (int i = 0; i < e.n; i++) {
        struct stat st;
        const char *name = e.list[i]->d_name;
        const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
        if (length < 0 || (size_t)length >= sizeof path || stat(path, &st) != 0) continue;
        if (of_a_set(&e, name)) continue;
        if (S_ISDIR(st.st_mode)) {
            if (levels == 0 && s->references_only) continue;
            if (levels == 0)
                return msa_fail(err, MSA_E_UNSUPPORTED, "the folders below %.120s are nested too deeply",
                                s->root);
            MSA_TRY(scan_folder(s, path, levels - 1, err));
        } else if (ends_with(name, ".nii") || ends_with(name, ".nii.gz")) {
            MSA_TRY(take_nifti(s, folder, name, err));
        } else if (S_ISREG(st.st_mode)) {
            MSA_TRY(take_file(s, folder, path, err));
        }
    }
    return MSA_OK;
}

static bool root_holds_images(const srv_places *p, const char *root)
{
    const size_t n = strlen(root);
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->list[i].images.n; k++)
            if (strchr(p->list[i].images.list[k] + n + 1, '/') == NULL) return true;
    return false;
}

msa_status srv_places_find(srv_places *p, const char *dir, msa_error *err)
{
    char root[PATH_MAX];
    char parent[PATH_MAX];
    struct stat st;
    if (stat(dir, &st) != 0 || !realpath(dir, root))
        return msa_fail(err, MSA_E_NOT_FOUND, "there is no folder %.150s", dir);
    if (!S_ISDIR(st.st_mode)) return msa_fail(err, MSA_E_NOT_FOUND, "%.150s is a file, not a folder", dir);
    (void)snprintf(parent, sizeof parent, "%s", root);
    char *slash = strrchr(parent, '/');
    const char *last = strrchr(root, '/');
    scan s = {.p = p, .root = root, .root_name = last && last[1] ? last + 1 : root};
    MSA_TRY(scan_folder(&s, root, LEVELS_MAX, err));
    if (!root_holds_images(p, root) || !slash || slash == parent) return MSA_OK;
    *slash = '\0';
    s.references_only = true;
    return scan_folder(&s, parent, 1, err);
}
