/* Key slices one below the other: left the image alone, right with masks and prompts. Whoever shows them one
 * at a time needs one file, and finds a slice by its place. */
#include "server/segment/preview.h"

#include <stdlib.h>

enum {
    SIDE = 256,
    SLICES_MAX = 24, /* about 1.5 MB of a CT */
};

static const srv_rgb ground = {0, 0, 0};

/* The slices with a mask or a prompt, ascending; of many, some at even distances, the first and last among
 * them. */
static int32_t choose(const srv_picture *p, int32_t *slices)
{
    int32_t found = 0;
    for (int32_t s = 0; s < p->info->slices; s++)
        if (srv_slice_area(p, s) > 0 || srv_slice_prompted(p, s)) slices[found++] = s;
    if (found <= SLICES_MAX) return found;
    for (int32_t i = 0; i < SLICES_MAX; i++)
        slices[i] = slices[(int64_t)i * (found - 1) / (SLICES_MAX - 1)];
    return SLICES_MAX;
}

msa_status srv_slice_sheet_write(const srv_picture *p, const char *path, msa_error *err)
{
    MSA_AUTO_FREE int32_t *slices = calloc((size_t)p->info->slices, sizeof *slices);
    MSA_AUTO(srv_canvas) canvas = NULL;
    if (!slices) return msa_fail(err, MSA_E_NOMEM, "out of memory for a picture");
    const int32_t n = choose(p, slices);
    if (n == 0) return MSA_OK;
    const srv_view view = srv_full_view(p->info);
    MSA_TRY(srv_canvas_new(&canvas, 2 * SIDE, n * SIDE, ground, err));
    for (int32_t i = 0; i < n; i++) {
        MSA_TRY(srv_slice_draw_plain(p, slices[i], view, canvas, (srv_rect){0, i * SIDE, SIDE, SIDE}, err));
        MSA_TRY(srv_slice_draw(p, slices[i], view, canvas, (srv_rect){SIDE, i * SIDE, SIDE, SIDE}, err));
    }
    return srv_canvas_save(canvas, path, err);
}
