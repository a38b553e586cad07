#include "server/segment/volume.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MIN 0.005 /* a small organ alone in a wide field of air is more */

/* Values that a window tells apart, as a part of all; every 7th looked at, which keeps no step with rows. */
static double share_shown(const msa_volume *v, double center, double width)
{
    const size_t n = (size_t)v->D * (size_t)v->H * (size_t)v->W;
    size_t seen = 0;
    size_t inside = 0;
    for (size_t i = 0; i < n; i += 7, seen++)
        inside += fabs((double)v->voxels[i] - center) < width / 2;
    return (double)inside / (double)seen;
}

/**
 * CT: the window that the scanner's operator chose, since it suits what the image was made for; abdomen when
 * the header has none, or one that shows next to nothing of the image. Everything else has no fixed scale:
 * width 0 asks the engine for percentiles.
 */
static void choose_window(const dicom_volume_info *info, msa_volume *v, const char **note)
{
    const double center = info->window_center;
    const double width = info->window_width;
    const bool given = isfinite(center) && isfinite(width) && width > 0;
    *note = "";
    if (strcmp(info->modality, "CT") != 0) return;
    const bool sane = given && width >= 10 && width <= 5000 && fabs(center) <= 3000 &&
                      share_shown(v, center, width) >= SHOWN_MIN;
    v->window_center = sane ? (float)center : 40;
    v->window_width = sane ? (float)width : 400;
    if (given && !sane) *note = "the grey window in the images is of no use; -160 to 240 HU was used";
}

msa_status srv_volume_fill(srv_volume *v, const dicom_series *series, msa_error *err)
{
    const dicom_volume_info *info = dicom_series_info(series);
    v->position_mm = calloc((size_t)info->slices, sizeof *v->position_mm);
    if (!v->position_mm) return msa_fail(err, MSA_E_NOMEM, "out of memory for the volume");
    /* Relative to the first slice: scanner coordinates can be large, and a float keeps seven digits. */
    for (int32_t i = 0; i < info->slices; i++)
        v->position_mm[i] = (float)(info->slice[i].position_mm - info->slice[0].position_mm);
    v->volume = (msa_volume){.voxels = dicom_series_voxels(series),
                             .D = info->slices,
                             .H = info->rows,
                             .W = info->cols,
                             .spacing_mm = {(float)info->spacing_mm[0], (float)info->spacing_mm[1]},
                             .position_mm = v->position_mm};
    choose_window(info, &v->volume, &v->window_note);
    return MSA_OK;
}

void srv_volume_clear(srv_volume *v)
{
    free(v->position_mm);
    v->position_mm = NULL;
}
