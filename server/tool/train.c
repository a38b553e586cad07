/* msa train: a recipe in; a checkpoint, a curve and at the end a model or an adapter out. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dicom/init.h"
#include "engine/base/pool.h"
#include "engine/training.h"
#include "server/segment/segment.h"
#include "server/tool/recipe.h"
#include "server/tool/tool.h"
#include "server/tool/train_cases.h"
#include "server/tool/train_curve.h"
#include "server/tool/train_pictures.h"

#define SHOW_MS 200

static const char usage[] =
    "usage: msa train RECIPE.yaml\n"
    "\n"
    "Trains as the recipe says. When its folder holds a checkpoint, training goes on from there, to the "
    "same\n"
    "bits as if it had never stopped. Ctrl-C stops after the step, with a checkpoint. The folder receives\n"
    "checkpoint.safetensors, curve.csv, curve.png and, at the end, model.safetensors (train: all) or\n"
    "adapter.safetensors, whose path is printed.\n"
    "\n"
    "With validate_every, the model is tried on pictures that it does not learn from, with tight boxes,\n"
    "every so many steps and at the end. That leaves a line, two more columns of the curve, a picture in\n"
    "samples/ (the newest five stay) and best.safetensors: the model or adapter of the best Dice so far.\n"
    "Its path is the one that is printed at the end, which comes early when patience says so.\n"
    "\n"
    "Keys and defaults:\n";

static volatile sig_atomic_t stop_wanted;

static void want_stop(int signal_number)
{
    (void)signal_number;
    stop_wanted = 1;
}

typedef struct training {
    srv_recipe recipe;
    srv_train_cases cases;
    srv_train_side learned, unseen; /* of them */
    msa_training *run;
    srv_curve *curve;
    int64_t began_ms, shown_ms, first_step;
    bool terminal, line_stands; /* on the terminal, without its end */
} training;

static void training_clear(training *t)
{
    srv_curve_free(t->curve);
    msa_training_free(t->run);
    srv_train_cases_clear(&t->cases);
    srv_recipe_clear(&t->recipe);
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void file_in(const training *t, const char *name, char path[SRV_RECIPE_PATH + 40])
{
    (void)snprintf(path, SRV_RECIPE_PATH + 40, "%s/%s", t->recipe.out, name);
}

/* ---- files ---- */

/* The split of a run that goes on is the one it began with. */
static msa_status find_cases(training *t, msa_error *err)
{
    const srv_recipe *r = &t->recipe;
    const srv_split_rule rule = {.fraction = r->validation_fraction,
                                 .seed = r->validation_seed,
                                 .cases = (const char *const *)r->validation_cases.list,
                                 .n_cases = r->validation_cases.n};
    char checkpoint[SRV_RECIPE_PATH + 40], path[SRV_RECIPE_PATH + 40];
    if (r->cases.n == 0) return MSA_OK;
    file_in(t, "checkpoint.safetensors", checkpoint);
    file_in(t, "split.json", path);
    MSA_TRY(dicom_init(err));
    MSA_TRY(srv_train_cases_find(&t->cases, (const char *const *)r->cases.list, r->cases.n,
                                 r->cases_at_once == 0, err));
    MSA_TRY(srv_split_make(&t->cases, &rule, err));
    if (access(checkpoint, F_OK) == 0) MSA_TRY(srv_split_check(&t->cases, path, err));
    return srv_split_write(&t->cases, &rule, path, err);
}

static msa_status open_run(training *t, msa_error *err)
{
    const srv_recipe *r = &t->recipe;
    char base[PATH_MAX];
    if (r->base[0] != '\0') MSA_TRY(srv_model_path(r->base, base, sizeof base, err));
    const msa_training_options o = {.base = r->base[0] != '\0' ? base : NULL,
                                    .config = r->config,
                                    .name = r->name,
                                    .version = r->version,
                                    .image_size = r->image_size,
                                    .depth_slices = r->depth_slices,
                                    .detail = r->detail,
                                    .box_in_image = r->box_in_image,
                                    .half = r->half,
                                    .set = (msa_train_set)r->set,
                                    .adapter_width = r->adapter_width,
                                    .lora_rank = r->lora_rank,
                                    .lora_alpha = r->lora_alpha,
                                    .trainer = r->trainer,
                                    .synthetic = r->synthetic,
                                    .volumes = r->volumes,
                                    .cases = srv_train_cases_set(&t->cases, false, &t->learned),
                                    .validation_cases = srv_train_cases_set(&t->cases, true, &t->unseen),
                                    .cases_at_once = r->cases_at_once,
                                    .hold_out = (const char *const *)r->hold_out.list,
                                    .n_hold_out = r->hold_out.n,
                                    .all_orientations = r->all_orientations,
                                    .augment = (float)r->augment,
                                    .validation_pictures = r->validation_pictures,
                                    .loaders = r->loaders,
                                    .recipe_hash = r->hash};
    return msa_training_open(&t->run, &o, err);
}

/* The curve first: a checkpoint finds its rows on the disk, whenever the run is killed. */
static msa_status save(const training *t, msa_error *err)
{
    char csv[SRV_RECIPE_PATH + 40], path[SRV_RECIPE_PATH + 40];
    MSA_TRY(srv_curve_sync(t->curve, err));
    file_in(t, "checkpoint.safetensors", path);
    MSA_TRY(msa_training_save(t->run, path, err));
    file_in(t, "curve.csv", csv);
    file_in(t, "curve.png", path);
    return srv_plot_write(csv, path, err);
}

static msa_status resume(training *t, msa_error *err)
{
    char path[SRV_RECIPE_PATH + 40];
    file_in(t, "checkpoint.safetensors", path);
    if (access(path, F_OK) != 0) return MSA_OK;
    MSA_TRY(msa_training_resume(t->run, path, err));
    (void)fprintf(stderr, "goes on from step %" PRId64 "\n", msa_training_steps(t->run));
    return MSA_OK;
}

static msa_status open_curve(training *t, msa_error *err)
{
    char path[SRV_RECIPE_PATH + 40];
    file_in(t, "samples", path);
    srv_sheets_drop_after(path, msa_training_steps(t->run));
    file_in(t, "curve.csv", path);
    return srv_curve_open(&t->curve, path, msa_training_steps(t->run), err);
}

/* Both the last and the best are left; the best is the result. */
static msa_status export_result(const training *t, msa_error *err)
{
    char path[SRV_RECIPE_PATH + 40], best[SRV_RECIPE_PATH + 40];
    const srv_curve_best *b = srv_curve_best_of(t->curve);
    file_in(t, t->recipe.set == MSA_TRAIN_ALL ? "model.safetensors" : "adapter.safetensors", path);
    MSA_TRY(msa_training_export(t->run, path, err));
    file_in(t, "best.safetensors", best);
    const bool validated = b->step >= 0 && access(best, R_OK) == 0;
    if (validated)
        (void)fprintf(stderr, "the best is that of step %" PRId64 ", Dice %.3f; the last is %s\n",
                      b->step + 1, b->dice, path);
    (void)printf("%s\n", validated ? best : path);
    return MSA_OK;
}

/* ---- progress ---- */

static void show(training *t, const msa_train_report *report)
{
    const int64_t now = now_ms(), done = report->step + 1, left = t->recipe.steps - done;
    if (t->terminal ? now - t->shown_ms < SHOW_MS && left > 0
                    : done % t->recipe.report_every != 0 && left > 0)
        return;
    t->shown_ms = now;
    const double seconds = (double)(now - t->began_ms) / 1000;
    const double rate = seconds > 0 ? (double)(done - t->first_step) / seconds : 0;
    const int64_t eta = rate > 0 ? (int64_t)((double)left / rate) : 0;
    const msa_running *run = msa_training_running(t->run);
    (void)fprintf(stderr,
                  "%sstep %" PRId64 " of %" PRId64
                  "  loss %.4f  Dice %.3f (first prompt %.3f)  lr %.2e  %.2f steps/s  "
                  "left %" PRId64 ":%02" PRId64 ":%02" PRId64 "%s",
                  t->terminal ? "\r" : "", done, t->recipe.steps, run->loss, run->dice_last, run->dice_first,
                  report->lr, rate, eta / 3600, eta / 60 % 60, eta % 60, t->terminal ? "\033[K" : "\n");
    (void)fflush(stderr);
    t->line_stands = t->terminal;
}

/* ---- validation ---- */

static msa_status validate(training *t, srv_curve_row *row, msa_error *err)
{
    char path[SRV_RECIPE_PATH + 40];
    msa_train_report found;
    MSA_AUTO(srv_sheet) sheet = NULL;
    MSA_TRY(srv_sheet_new(&sheet, err));
    MSA_TRY(msa_training_validate(t->run, &found, srv_sheet_view, sheet, err));
    row->validation_loss = found.loss;
    row->validation_dice = found.dice_first;
    file_in(t, "samples", path);
    return srv_sheet_write(sheet, path, row->step + 1, found.dice_first, err);
}

static msa_status keep_best(training *t, const srv_curve_row *row, msa_error *err)
{
    char path[SRV_RECIPE_PATH + 40];
    const srv_curve_best *b = srv_curve_best_of(t->curve);
    const bool best = b->step == row->step;
    if (t->line_stands) (void)fputs("\r\033[K", stderr);
    t->line_stands = false;
    (void)fprintf(stderr, "validation after step %" PRId64 ": loss %.4f  Dice %.3f", row->step + 1,
                  row->validation_loss, row->validation_dice);
    if (best)
        (void)fputs(", the best so far\n", stderr);
    else
        (void)fprintf(stderr, "; the best was %.3f after step %" PRId64 "\n", b->dice, b->step + 1);
    if (!best) return MSA_OK;
    file_in(t, "best.safetensors", path);
    return msa_training_export(t->run, path, err);
}

/* ---- the run ---- */

static msa_status prepare(training *t, const char *recipe, msa_error *err)
{
    MSA_TRY(srv_recipe_read(&t->recipe, recipe, err));
    const srv_recipe *r = &t->recipe;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    msa_threads_set(r->threads > 0 ? r->threads : cores > 0 ? (int)cores : 1);
    MSA_TRY(srv_tool_make_folder(r->out, err));
    MSA_TRY(find_cases(t, err));
    MSA_TRY(open_run(t, err));
    MSA_TRY(resume(t, err));
    MSA_TRY(open_curve(t, err));
    t->first_step = msa_training_steps(t->run);
    (void)fprintf(stderr, "%" PRId64 " of %" PRId64 " parameters train, %d threads\n",
                  msa_training_parameters(t->run, true), msa_training_parameters(t->run, false),
                  msa_threads_get());
    return MSA_OK;
}

/* One step, and what is due after it. */
static msa_status go_on(training *t, msa_error *err)
{
    const srv_recipe *r = &t->recipe;
    msa_train_report report;
    MSA_TRY(msa_training_step(t->run, &report, err));
    const int64_t done = report.step + 1;
    srv_curve_row row = {.step = report.step,
                         .loss = report.loss,
                         .dice_first = report.dice_first,
                         .dice_last = report.dice_last,
                         .lr = report.lr,
                         .grad_norm = report.grad_norm,
                         .validation_loss = NAN,
                         .validation_dice = NAN};
    show(t, &report);
    const bool due = r->validate_every > 0 && (done % r->validate_every == 0 || done == r->steps);
    if (due) MSA_TRY(validate(t, &row, err));
    MSA_TRY(srv_curve_add(t->curve, &row, err));
    if (due) MSA_TRY(keep_best(t, &row, err));
    return done % r->checkpoint_every == 0 ? save(t, err) : MSA_OK;
}

static bool out_of_patience(const training *t)
{
    return t->recipe.patience > 0 && srv_curve_best_of(t->curve)->since >= t->recipe.patience;
}

static msa_status train(training *t, msa_error *err)
{
    const srv_recipe *r = &t->recipe;
    t->terminal = isatty(STDERR_FILENO) != 0;
    t->began_ms = now_ms();
    while (msa_training_steps(t->run) < r->steps && !out_of_patience(t) && stop_wanted == 0)
        MSA_TRY(go_on(t, err));
    if (t->line_stands) (void)fputs("\n", stderr);
    MSA_TRY(save(t, err));
    if (out_of_patience(t))
        (void)fprintf(stderr, "stops after step %" PRId64 ": %" PRId32 " validations without a better Dice\n",
                      msa_training_steps(t->run), r->patience);
    else if (msa_training_steps(t->run) < r->steps)
        return msa_fail(err, MSA_E_CANCELED, "stopped after step %" PRId64 "; the same command goes on",
                        msa_training_steps(t->run));
    return export_result(t, err);
}

int srv_tool_train(int argc, char **argv)
{
    msa_error err = MSA_ERROR_INIT;
    training t = {0};
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        (void)fputs(usage, stdout);
        srv_recipe_print_keys(stdout);
        return SRV_EXIT_OK;
    }
    if (argc != 2) return srv_tool_usage("train", "it takes one RECIPE");
    if (argv[1][0] == '-') return srv_tool_usage("train", "there is no option %.60s", argv[1]);
    const struct sigaction stop = {.sa_handler = want_stop, .sa_flags = SA_RESETHAND}; /* twice: at once */
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    msa_status status = prepare(&t, argv[1], &err);
    if (status == MSA_OK) status = train(&t, &err);
    training_clear(&t);
    return status == MSA_OK ? SRV_EXIT_OK : srv_tool_fail(&err);
}
