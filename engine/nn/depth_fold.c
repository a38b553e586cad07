#include "engine/nn/depth_fold.h"

#include <math.h>

void msa_depth_fold(int32_t n, int32_t *rows, int32_t *cols)
{
    int32_t a = (int32_t)sqrt((double)n);
    int32_t b = a + 1; /* so a perfect square does not give its root: 4 is 1 x 4, 16 is 2 x 8 */
    if (n <= 1) {
        *rows = *cols = 1;
        return;
    }
    while (a * b != n) {
        if (a * b < n)
            b++;
        else
            a--;
    }
    *rows = a;
    *cols = b;
}
