/* curve.csv of a training run: a row for each step, and what early stopping needs to know of them. */
#ifndef SRV_TOOL_TRAIN_CURVE_H
#define SRV_TOOL_TRAIN_CURVE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

typedef struct srv_curve_row {
    int64_t step; /* from 0 */
    double loss, dice_first, dice_last, lr, grad_norm;
    double validation_loss, validation_dice; /* of the weights after the step; NaN: not measured */
} srv_curve_row;

typedef struct srv_curve_best {
    int64_t step; /* -1: nothing was validated yet */
    double dice;
    int64_t since; /* validations after it, none of them better */
} srv_curve_best;

/* ---- writing ---- */

typedef struct srv_curve srv_curve;

/**
 * Goes on with the file at `path`, which need not be there. Only rows of steps before `steps` stay, and only
 * whole ones: a killed run may have written more than it saved, and the last row by halves. Errors: MSA_E_IO,
 * MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_curve_open(srv_curve **out, const char *path, int64_t steps, msa_error *err);
void srv_curve_free(srv_curve *c);
MSA_DEFINE_AUTO(srv_curve, srv_curve_free);
/* *row becomes what the file holds: rounded. Errors: MSA_E_IO. */
MSA_NODISCARD msa_status srv_curve_add(srv_curve *c, srv_curve_row *row, msa_error *err);
/* What was added is on the disk. Errors: MSA_E_IO. */
MSA_NODISCARD msa_status srv_curve_sync(srv_curve *c, msa_error *err);
/* Of all rows: a function of the file alone, so that a resumed run decides as one that was never stopped. */
const srv_curve_best *srv_curve_best_of(const srv_curve *c);

/* ---- reading ---- */

typedef void srv_curve_fn(void *ctx, const srv_curve_row *row);

/* Every whole row, in order of the steps; no file: none. Errors: MSA_E_IO. */
MSA_NODISCARD msa_status srv_curve_read(const char *path, srv_curve_fn *each, void *ctx, msa_error *err);

#endif
