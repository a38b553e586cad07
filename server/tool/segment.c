#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/segment/models.h"
#include "server/segment/segment.h"
#include "server/tool/arguments.h"
#include "server/tool/input_key.h"
#include "server/tool/running.h"
#include "server/tool/segment_json.h"
#include "server/tool/tool.h"

enum { SERIES_NUMBER = 1000 };
#define CACHE_MEMORY_BYTES ((size_t)512 << 20)
#define CACHE_DISK_BYTES   ((uint64_t)2 << 30)

static msa_status make_folder(const char *dir, char real[PATH_MAX], msa_error *err)
{
    struct stat st;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return msa_fail(err, MSA_E_IO, "cannot make the output folder %.120s: %s", dir, strerror(errno));
    if (!realpath(dir, real) || stat(real, &st) != 0 || !S_ISDIR(st.st_mode) || access(real, W_OK) != 0)
        return msa_fail(err, MSA_E_IO, "the output folder %.120s is not a folder that can be written", dir);
    return MSA_OK;
}

static msa_status check_folder(const char *dir, msa_error *err)
{
    struct stat st;
    if (stat(dir, &st) != 0) return msa_fail(err, MSA_E_NOT_FOUND, "there is no folder %.150s", dir);
    if (!S_ISDIR(st.st_mode))
        return msa_fail(err, MSA_E_NOT_FOUND, "%.150s is a file, not the folder of a series", dir);
    return MSA_OK;
}

/* A box on the command line was typed for this series: a slip is an error, not something to be left out. */
static msa_status check_boxes(const srv_segment_arguments *a, const dicom_volume_info *info, msa_error *err)
{
    for (size_t i = 0; i < a->n_boxes; i++) {
        const dicom_prompt *b = &a->boxes[i];
        if (b->slice >= info->slices)
            return msa_fail(err, MSA_E_INVALID,
                            "--box %zu lies on slice %d, but the series has slices 0 to %d", i + 1, b->slice,
                            info->slices - 1);
        if (b->x1 <= 0 || b->y1 <= 0 || b->x0 >= info->cols || b->y0 >= info->rows)
            return msa_fail(err, MSA_E_INVALID, "--box %zu lies outside the image of %d columns and %d rows",
                            i + 1, info->cols, info->rows);
    }
    return MSA_OK;
}

typedef struct prompt_list {
    dicom_prompt *prompts;
    const char **files; /* the annotation that each came from; NULL: none */
    size_t n;
} prompt_list;

static void prompt_list_clear(prompt_list *l)
{
    free(l->prompts);
    free(l->files);
}

static msa_status append(prompt_list *l, const dicom_prompt *more, size_t n, const char *file, msa_error *err)
{
    if (n == 0) return MSA_OK;
    dicom_prompt *grown = realloc(l->prompts, (l->n + n) * sizeof *grown);
    if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    memcpy(grown + l->n, more, n * sizeof *grown);
    l->prompts = grown;
    const char **files = realloc(l->files, (l->n + n) * sizeof *files);
    if (!files) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    l->files = files;
    for (size_t i = 0; i < n; i++)
        files[l->n++] = file;
    return MSA_OK;
}

static msa_status read_prompts(const srv_segment_arguments *a, prompt_list *l, msa_error *err)
{
    for (size_t i = 0; i < a->n_annotations; i++) {
        MSA_AUTO_FREE dicom_prompt *found = NULL;
        size_t n = 0;
        const char *note = NULL;
        msa_error why = MSA_ERROR_INIT;
        if (dicom_annotation_read(&found, &n, &note, a->annotations[i], &why) != MSA_OK)
            return msa_fail(err, why.status, "--annot %.80s: %.130s", a->annotations[i], why.what);
        if (n == 0)
            (void)fprintf(stderr, "msa: no prompt in %s: %s\n", a->annotations[i],
                          note ? note : "it is empty");
        MSA_TRY(append(l, found, n, a->annotations[i], err));
    }
    return append(l, a->boxes, a->n_boxes, NULL, err);
}

/* A stale result must not look like this run's. */
static void remove_old_results(const char *dir)
{
    static const char *const ours[] = {"seg.dcm",       "seg-*.dcm",   "report.dcm",   "structure-set.dcm",
                                       "capture-*.dcm", "preview.png", "overlay-*.png"};
    DIR *d = opendir(dir);
    if (!d) return;
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (fnmatch(ours[i], e->d_name, 0) == 0) (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)closedir(d);
}

static void print_outcome(const srv_segment_outcome *o, const msa_model *model, const char *out_dir)
{
    const msa_config *config = msa_model_config(model);
    printf("model %s %s%s\n", config->name, config->version,
           config->untrained ? " (untrained: the masks mean nothing)" : "");
    for (size_t i = 0; i < o->n_stats; i++) {
        const srv_segment_stat *s = &o->stats[i];
        if (s->voxels > 0)
            printf("segment \"%s\": %.2f ml, %lld voxels, slices %d to %d; %s\n", s->label,
                   s->measures.volume_ml, (long long)s->voxels, s->first_slice, s->last_slice, s->note);
        else
            printf("segment \"%s\": %s\n", s->label, s->note);
    }
    if (o->warnings[0]) printf("note: %s\n", o->warnings);
    for (size_t i = 0; i < o->n_files; i++)
        printf("SEG %s/%s  %d frames, %d segments\n", out_dir, o->files[i].name, o->files[i].frames,
               o->files[i].segments);
    if (o->report.name[0]) printf("REPORT %s/%s\n", out_dir, o->report.name);
    if (o->contours.name[0]) printf("CONTOURS %s/%s\n", out_dir, o->contours.name);
    for (size_t i = 0; i < o->n_captures; i++)
        printf("CAPTURE %s/%s\n", out_dir, o->captures[i].name);
    printf("PREVIEW %s/preview.png\n", out_dir);
}

static msa_status run(const srv_segment_arguments *a, srv_segment_outcome *outcome, srv_models **models,
                      const msa_model **model, msa_error *err)
{
    MSA_AUTO(dicom_series) series = NULL;
    __attribute__((cleanup(prompt_list_clear))) prompt_list prompts = {0};
    char out_dir[PATH_MAX];
    char key[MSA_SHA256_HEX];
    srv_progress progress;
    MSA_AUTO(msa_embedding_cache) cache = NULL;
    const msa_embedding_cache_options cached = {
        .memory_bytes = CACHE_MEMORY_BYTES, .folder = a->cache, .disk_bytes = CACHE_DISK_BYTES};
    const srv_models_wanted wanted = {.path = a->model,
                                      .adapter = a->adapter,
                                      .precision = a->precision,
                                      .rules = srv_rules_built_in,
                                      .n_rules = srv_n_rules_built_in};
    MSA_TRY(check_folder(a->series_dir, err));
    MSA_TRY(srv_models_load(models, &wanted, err));
    MSA_TRY(dicom_init(err));
    MSA_TRY(read_prompts(a, &prompts, err));
    const dicom_series_request volume = {.prompts = prompts.prompts, .n_prompts = prompts.n};
    MSA_TRY(dicom_series_load_dir(&series, a->series_dir, &volume, err));
    MSA_TRY(check_boxes(a, dicom_series_info(series), err));
    *model = srv_models_for(*models, dicom_series_info(series)->modality,
                            dicom_series_info(series)->body_part, NULL);
    MSA_TRY(make_folder(a->out_dir, out_dir, err));
    MSA_TRY(srv_input_key(a, out_dir, msa_model_hash(*model), key, err));
    MSA_TRY(msa_embedding_cache_new(&cache, &cached, err));
    remove_old_results(out_dir);
    srv_progress_begin(&progress, "segmenting");
    const srv_segment_request request = {.series = series,
                                         .prompts = prompts.prompts,
                                         .n_prompts = prompts.n,
                                         .prompt_files = prompts.files,
                                         .model = *model,
                                         .automatic = a->automatic ? &a->automatic_options : NULL,
                                         .key = key,
                                         .out_dir = out_dir,
                                         .series_number = SERIES_NUMBER,
                                         .series_description = "msad segmentation",
                                         .overlays = true,
                                         .forms = &a->form,
                                         .n_forms = 1,
                                         .report = !a->no_report,
                                         .contours = a->contours,
                                         .captures = a->captures,
                                         .cache = cache,
                                         .cancel = srv_running_interrupted(),
                                         .progress = srv_progress_show,
                                         .progress_ctx = &progress};
    const msa_status status = srv_segment_run(&request, outcome, err);
    if (status == MSA_OK)
        srv_progress_end(&progress, dicom_series_info(series)->slices);
    else
        srv_progress_drop(&progress);
    return status;
}

int srv_tool_segment(int argc, char **argv)
{
    __attribute__((cleanup(srv_segment_arguments_clear))) srv_segment_arguments a = {0};
    MSA_AUTO(srv_models) models = NULL;
    const msa_model *model = NULL;
    MSA_AUTO_FREE srv_segment_outcome *outcome = calloc(1, sizeof *outcome);
    msa_error err = MSA_ERROR_INIT;
    const int code = srv_segment_arguments_read(&a, argc, argv);
    if (code != 0) return code;
    if (a.help) return fputs(srv_segment_usage, stdout) < 0 ? SRV_EXIT_NO_INPUT : SRV_EXIT_OK;
    if (!outcome) {
        (void)msa_fail(&err, MSA_E_NOMEM, "out of memory");
        return srv_tool_fail(&err);
    }
    srv_running_begin(a.threads);
    if (run(&a, outcome, &models, &model, &err) != MSA_OK) return srv_tool_fail(&err);
    if (a.json && srv_segment_json_write(a.json, outcome, model, a.out_dir, &err) != MSA_OK)
        return srv_tool_fail(&err);
    if (!a.json || strcmp(a.json, "-") != 0) print_outcome(outcome, model, a.out_dir);
    if (outcome->n_files > 0) return SRV_EXIT_OK;
    (void)fprintf(stderr, "msa: the model found nothing%s, so there is no SEG%s\n",
                  a.automatic ? " by itself" : " in the prompts", a.no_report ? "" : "; the report says so");
    return SRV_EXIT_NOTHING;
}
