#include "engine/volume/auto_link.h"

#include <stdlib.h>

#include "engine/base/cleanup.h"

static double area(msa_box b)
{
    return msa_box_empty(b) ? 0 : (double)(b.x1 - b.x0) * (double)(b.y1 - b.y0);
}

static double box_iou(msa_box a, msa_box b)
{
    const double both = area(msa_box_intersect(a, b)), either = area(a) + area(b) - both;
    return either > 0 ? both / either : 0;
}

/* Of equal scores the earlier goes first. */
static int by_score(const void *a, const void *b, void *ctx)
{
    const float *scores = ctx;
    const int32_t p = *(const int32_t *)a, q = *(const int32_t *)b;
    if (scores[p] != scores[q]) return scores[p] < scores[q] ? 1 : -1;
    return (p > q) - (p < q);
}

void msa_nms(const msa_box *boxes, const float *scores, int32_t n, float most, int32_t *order, bool *kept)
{
    for (int32_t i = 0; i < n; i++)
        order[i] = i;
    if (n > 0) qsort_r(order, (size_t)n, sizeof *order, by_score, (void *)scores);
    for (int32_t k = 0; k < n; k++) {
        kept[order[k]] = true;
        for (int32_t i = 0; i < k && kept[order[k]]; i++)
            kept[order[k]] = !kept[order[i]] || box_iou(boxes[order[i]], boxes[order[k]]) <= (double)most;
    }
}

typedef struct pair {
    double iou;
    int32_t below, above;
} pair;

static int by_iou(const void *a, const void *b)
{
    const pair *p = a, *q = b;
    if (p->iou != q->iou) return p->iou < q->iou ? 1 : -1;
    if (p->below != q->below) return p->below < q->below ? -1 : 1;
    return (p->above > q->above) - (p->above < q->above);
}

msa_status msa_link(const msa_bits *const *below, int32_t n_below, const msa_bits *const *above,
                    int32_t n_above, float least, int32_t *from, msa_error *err)
{
    MSA_AUTO_FREE pair *pairs = malloc(((size_t)n_below * (size_t)n_above + 1) * sizeof *pairs);
    MSA_AUTO_FREE bool *taken = calloc((size_t)n_below + 1, sizeof *taken);
    size_t n = 0;
    if (!pairs || !taken) return msa_fail(err, MSA_E_NOMEM, "out of memory for the regions");
    for (int32_t a = 0; a < n_above; a++)
        from[a] = -1;
    for (int32_t b = 0; b < n_below; b++)
        for (int32_t a = 0; a < n_above; a++) {
            const double iou = msa_bits_iou(below[b], above[a]);
            if (iou > 0 && iou >= (double)least) pairs[n++] = (pair){iou, b, a};
        }
    if (n > 0) qsort(pairs, n, sizeof *pairs, by_iou);
    for (size_t k = 0; k < n; k++) {
        if (taken[pairs[k].below] || from[pairs[k].above] >= 0) continue;
        taken[pairs[k].below] = true;
        from[pairs[k].above] = pairs[k].below;
    }
    return MSA_OK;
}
