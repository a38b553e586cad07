/* The near-square grid on which upstream's depth branch lays a sequence of slices. */
#ifndef MSA_ENGINE_NN_DEPTH_FOLD_H
#define MSA_ENGINE_NN_DEPTH_FOLD_H

#include <stdint.h>

/* n >= 1 to rows * cols = n, rows <= cols, by upstream's search; 1 gives 1 x 1, on which upstream never
 * returns. */
void msa_depth_fold(int32_t n, int32_t *rows, int32_t *cols);

#endif
