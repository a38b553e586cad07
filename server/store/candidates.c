#include "server/store/candidates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_good(const msa_candidates *c)
{
    if (c->slice < 0 || c->n < 1 || c->n > MSA_CANDIDATES_MAX || c->chosen < 0) return false;
    for (int32_t i = 0; i < c->n; i++)
        if (!isfinite(c->iou[i])) return false;
    return true;
}

void srv_candidates_print(const msa_candidates *c, char text[SRV_CANDIDATES_TEXT])
{
    text[0] = '\0';
    if (!is_good(c)) return;
    int n = snprintf(text, SRV_CANDIDATES_TEXT, "%d %d", c->slice, c->chosen);
    for (int32_t i = 0; i < c->n; i++)
        n += snprintf(text + n, SRV_CANDIDATES_TEXT - (size_t)n, " %.6g", (double)c->iou[i]);
}

msa_candidates srv_candidates_read(const char *text)
{
    msa_candidates c = {0};
    const msa_candidates none = {.slice = -1};
    int used = 0;
    if (sscanf(text, "%d %d%n", &c.slice, &c.chosen, &used) != 2) return none;
    for (text += used; *text != '\0' && c.n < MSA_CANDIDATES_MAX; c.n++) {
        char *end = NULL;
        c.iou[c.n] = strtof(text, &end);
        if (end == text) return none;
        text = end;
    }
    return is_good(&c) ? c : none;
}
