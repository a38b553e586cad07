#include "server/tool/train_curve.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM 4096
#define LINE_ROOM 256
#define N_ALWAYS  6 /* columns that every row has */

static const char header[] = "step,loss,dice_first,dice_last,lr,grad_norm,validation_loss,validation_dice\n";

struct srv_curve {
    FILE *file;
    char path[PATH_ROOM];
    srv_curve_best best;
};

/* ---- rows as text ---- */

static void print_row(const srv_curve_row *r, char line[LINE_ROOM])
{
    const int n = snprintf(line, LINE_ROOM, "%" PRId64 ",%.6g,%.5f,%.5f,%.6g,%.5g,", r->step, r->loss,
                           r->dice_first, r->dice_last, r->lr, r->grad_norm);
    const size_t room = LINE_ROOM - (size_t)n;
    if (isnan(r->validation_dice))
        (void)snprintf(line + n, room, ",\n");
    else
        (void)snprintf(line + n, room, "%.6g,%.6f\n", r->validation_loss, r->validation_dice);
}

/* A number up to a comma or the end; *value stays as it is where nothing stands. */
static bool take_number(const char **at, double *value)
{
    if (**at != ',' && **at != '\n') {
        char *end = NULL;
        *value = strtod(*at, &end);
        if (end == *at) return false;
        *at = end;
    }
    if (**at == ',')
        (*at)++;
    else if (**at != '\n')
        return false;
    return true;
}

/* Rows of before there was validation end after grad_norm. */
static bool parse_row(const char *line, srv_curve_row *r)
{
    double step = -1;
    double *const numbers[] = {&step,  &r->loss,      &r->dice_first,      &r->dice_last,
                               &r->lr, &r->grad_norm, &r->validation_loss, &r->validation_dice};
    *r = (srv_curve_row){.validation_loss = NAN, .validation_dice = NAN};
    if (strchr(line, '\n') == NULL) return false;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((i < N_ALWAYS && *line == '\n') || !take_number(&line, numbers[i])) return false;
    r->step = (int64_t)step;
    return *line == '\n' && step >= 0;
}

msa_status srv_curve_read(const char *path, srv_curve_fn *each, void *ctx, msa_error *err)
{
    char line[LINE_ROOM];
    int64_t last = -1;
    FILE *file = fopen(path, "r");
    if (file == NULL && errno == ENOENT) return MSA_OK;
    if (file == NULL) return msa_fail(err, MSA_E_IO, "cannot open %.120s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file) != NULL) {
        srv_curve_row row;
        if (!parse_row(line, &row) || row.step <= last) continue;
        last = row.step;
        each(ctx, &row);
    }
    const bool failed = ferror(file) != 0;
    (void)fclose(file);
    return failed ? msa_fail(err, MSA_E_IO, "cannot read %.120s", path) : MSA_OK;
}

/* ---- the best ---- */

static void note(srv_curve_best *b, const srv_curve_row *row)
{
    if (isnan(row->validation_dice)) return;
    if (b->step < 0 || row->validation_dice > b->dice)
        *b = (srv_curve_best){.step = row->step, .dice = row->validation_dice};
    else
        b->since++;
}

const srv_curve_best *srv_curve_best_of(const srv_curve *c)
{
    return &c->best;
}

/* ---- writing ---- */

typedef struct keeping {
    srv_curve *curve;
    int64_t steps;
    bool ok;
} keeping;

static void keep(void *ctx, const srv_curve_row *row)
{
    keeping *k = ctx;
    char line[LINE_ROOM];
    if (row->step >= k->steps || !k->ok) return;
    print_row(row, line);
    note(&k->curve->best, row);
    k->ok = fputs(line, k->curve->file) >= 0;
}

static msa_status fail_writing(const srv_curve *c, msa_error *err)
{
    return msa_fail(err, MSA_E_IO, "cannot write %.120s: %s", c->path, strerror(errno));
}

msa_status srv_curve_open(srv_curve **out, const char *path, int64_t steps, msa_error *err)
{
    char part[PATH_ROOM + 8];
    *out = NULL;
    MSA_AUTO(srv_curve) c = calloc(1, sizeof *c);
    if (c == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the curve");
    c->best.step = -1;
    if ((size_t)snprintf(c->path, sizeof c->path, "%s", path) >= sizeof c->path)
        return msa_fail(err, MSA_E_INVALID, "the path of the curve is too long");
    (void)snprintf(part, sizeof part, "%s.new", path);
    c->file = fopen(part, "w");
    keeping k = {.curve = c, .steps = steps, .ok = c->file != NULL};
    k.ok = k.ok && fputs(header, c->file) >= 0;
    if (k.ok) MSA_TRY(srv_curve_read(path, keep, &k, err));
    if (!k.ok) return fail_writing(c, err);
    MSA_TRY(srv_curve_sync(c, err));
    if (rename(part, path) != 0) return fail_writing(c, err);
    *out = MSA_STEAL(c);
    return MSA_OK;
}

void srv_curve_free(srv_curve *c)
{
    if (c == NULL) return;
    if (c->file != NULL) (void)fclose(c->file);
    free(c);
}

msa_status srv_curve_add(srv_curve *c, srv_curve_row *row, msa_error *err)
{
    char line[LINE_ROOM];
    print_row(row, line);
    if (fputs(line, c->file) < 0) return fail_writing(c, err);
    /* Compared as it was rounded: who reads the file later must find the same best. */
    if (parse_row(line, row)) note(&c->best, row);
    return MSA_OK;
}

msa_status srv_curve_sync(srv_curve *c, msa_error *err)
{
    if (fflush(c->file) != 0 || fdatasync(fileno(c->file)) != 0) return fail_writing(c, err);
    return MSA_OK;
}
