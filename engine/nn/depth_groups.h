/* Which rows of a stack of slices see each other along the depth axis. Source: arXiv:2304.12620. */
#ifndef MSA_ENGINE_NN_DEPTH_GROUPS_H
#define MSA_ENGINE_NN_DEPTH_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/config.h"
#include "engine/nn/window.h"

/* The rows of a stack, slice after slice. */
typedef struct msa_stack_rows {
    msa_windows windows; /* of one slice; the grid itself when attention is global */
    int32_t slices;
    int64_t stride;  /* rows from one slice to the next */
    int64_t pad_row; /* stands for all padding; -1: there is none, or it has rows of its own */
    bool split;      /* rows are in window order with their padding; else in grid order */
} msa_stack_rows;

/* Sequences of one length, as windows for the attention: `fold` has a window of length = win_h * win_w for
 * each; their rows begin at `first` of the map. */
typedef struct msa_depth_part {
    msa_windows fold;
    int64_t first;
} msa_depth_part;

typedef struct msa_depth_groups {
    msa_depth_part part[2]; /* the second holds what remains of runs */
    int32_t n_parts;
    int64_t slots; /* of the map */
} msa_depth_groups;

/**
 * MSA_DEPTH_VOLUME: one sequence for each place of a slice, through all slices, whatever the windows.
 * MSA_DEPTH_RUNS: what the published code does: the list of (slice, window), windows fastest, is cut into
 * runs of c->depth_chunk (0: one run), and each run has one sequence for each place of a window, padding
 * included; so only without windows is it depth that is seen. A last run may be shorter, where the published
 * code fails.
 *
 * A sequence of n is laid out as a line (n x 1: the row table is a relative position along depth, the column
 * table its middle row) or on msa_depth_fold()'s grid, as published.
 */
msa_depth_groups msa_depth_groups_make(const msa_config *c, const msa_stack_rows *rows);
/* row_of (slots): rows of part 0, sequence after sequence, then of part 1. */
void msa_depth_groups_map(const msa_depth_groups *g, const msa_config *c, const msa_stack_rows *rows,
                          int32_t *row_of);

#endif
