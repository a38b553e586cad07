/* Decomposed relative positions: tables of (2n - 1, d) rows, one per signed distance. */
#ifndef MSA_ENGINE_NN_RELPOS_H
#define MSA_ENGINE_NN_RELPOS_H

#include <stdint.h>

/* Rows of the table for q queries and k keys on one axis: 2 max(q, k) - 1. */
int32_t msa_relpos_rows(int32_t q, int32_t k);
/* table (rows, d) resized linearly to out (msa_relpos_rows(q, k), d); copied when the counts agree. */
void msa_relpos_resize(const float *table, int32_t rows, int32_t d, int32_t q, int32_t k, float *out);
/* Backward: dout as out; added to dtable (rows, d). */
void msa_relpos_resize_backward(const float *dout, int32_t q, int32_t k, int32_t d, float *dtable,
                                int32_t rows);
/* Row of the resized table for query i and key j; i - j + q - 1 when q = k. */
int32_t msa_relpos_row(int32_t i, int32_t j, int32_t q, int32_t k);

#endif
