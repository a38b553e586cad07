#include "server/segment/key_slices.h"

#include <stdlib.h>

static int by_importance(const void *a, const void *b)
{
    const srv_key_slice *x = a;
    const srv_key_slice *y = b;
    if (x->prompted != y->prompted) return x->prompted ? -1 : 1;
    if (x->area != y->area) return x->area > y->area ? -1 : 1;
    return x->slice - y->slice;
}

static int by_slice(const void *a, const void *b)
{
    return ((const srv_key_slice *)a)->slice - ((const srv_key_slice *)b)->slice;
}

void srv_key_slices(const srv_picture *p, srv_key_slice *keys, int32_t most, int32_t *n, int32_t *main_slice)
{
    int32_t found = 0;
    for (int32_t s = 0; s < p->info->slices; s++) {
        const srv_key_slice key = {s, srv_slice_area(p, s), srv_slice_prompted(p, s)};
        if (key.area > 0 || key.prompted) keys[found++] = key;
    }
    qsort(keys, (size_t)found, sizeof *keys, by_importance);
    *main_slice = keys[0].slice;
    *n = found < most ? found : most;
    qsort(keys, (size_t)*n, sizeof *keys, by_slice);
}
