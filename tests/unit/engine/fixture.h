/* A temporary folder and a model small enough for every test. */
#ifndef MSA_TESTS_UNIT_ENGINE_FIXTURE_H
#define MSA_TESTS_UNIT_ENGINE_FIXTURE_H

#include <stdint.h>

#include "engine/config.h"

/* For cmocka: *state becomes the path of a new folder; it is removed with the files that lie directly in it.
 */
int fixture_folder(void **state);
int fixture_remove(void **state);
/* "FOLDER/name" in a buffer of this function. */
const char *fixture_path(void **state, const char *name);

/* Image 64, patch 8, width 32, 3 blocks, windows of 5 on an 8 x 8 grid: with padding. */
msa_config fixture_config(void);
/* The same without adapters, as SAM. */
msa_config fixture_plain_config(void);
/* The same as an EfficientSAM. */
msa_config fixture_efficient_config(void);
/* n values in -scale .. scale, the same in every run. */
void fixture_fill(float *x, int64_t n, uint64_t seed, float scale);
/* Copies model file "m" to "t" without tensor `drop`, with tensor `add`, and with a poisoned first value;
 * NULL: not. */
void fixture_tamper(void **state, const char *drop, const char *add, const char *poisoned, float poison);

#endif
