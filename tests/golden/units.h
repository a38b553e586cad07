/* The parts of check_units.c. */
#ifndef MSA_TESTS_GOLDEN_UNITS_H
#define MSA_TESTS_GOLDEN_UNITS_H

#include "tests/golden/golden.h"

/* A tensor that the replay cannot do without; its absence fails the file. NULL then. */
const msa_tensor *units_need(const golden_file *f, golden_report *r, const char *name);
/* Zeroed floats, the replay's own; a test that is out of memory ends. */
float *units_floats(int64_t n);
/* x (N, C, H, W) to (N, H, W, C), and back; the result is the caller's. */
float *units_to_channels_last(const float *x, int64_t N, int64_t C, int64_t pixels);
float *units_to_channels_first(const float *x, int64_t N, int64_t C, int64_t pixels);

/* Each checks the operators of one room. */
void units_check_kern(const golden_file *f, golden_report *r); /* GELU, softmax */
void units_check_rows(const golden_file *f,
                      golden_report *r); /* norms, other activations, relative positions */
void units_check_grids(const golden_file *f,
                       golden_report *r); /* convolutions, windows, attention, resizing */
void units_check_positions(const golden_file *f, golden_report *r); /* Fourier features */
void units_check_images(const golden_file *f, golden_report *r);    /* PIL resize, profiles, grey windows */
void units_check_scores(const golden_file *f, golden_report *r);    /* metrics, distances */
void units_check_losses(const golden_file *f, golden_report *r);

/* units_grads.c */
void units_check_grads(const golden_file *f, golden_report *r); /* gradients of single operators */
void units_check_optimizers(const golden_file *f, golden_report *r);

#endif
