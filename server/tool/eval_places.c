/* Which folders hold a case. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dicom/header.h"
#include "server/tool/eval.h"

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
    char base[SRV_EVAL_NAME - 16];
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
    for (int i = 0; i < e.n; i++) {
        struct stat st;
        const char *name = e.list[i]->d_name;
        const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
        if (length < 0 || (size_t)length >= sizeof path || stat(path, &st) != 0) continue;
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
