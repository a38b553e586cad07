#include <stdlib.h>

#include "engine/base/cleanup.h"
#include "engine/sam/position_code.h"
#include "tests/golden/units.h"

void units_check_positions(const golden_file *f, golden_report *r)
{
    const msa_tensor *gaussian = units_need(f, r, "in.pe.gaussian");
    const msa_tensor *coords = units_need(f, r, "in.pe.coords");
    const msa_tensor *grid = units_need(f, r, "out.pe.grid_3x5");
    if (!gaussian || !coords || !grid) return;
    const int32_t P = (int32_t)gaussian->shape[1] * 2;
    MSA_AUTO_FREE float *points = units_floats(coords->count / 2 * P);
    for (int64_t i = 0; i < coords->count / 2; i++) /* frame 48 high, 64 wide; no half pixel is added here */
        msa_position_code(gaussian->data, P, (double)coords->data[2 * i] / 64,
                          (double)coords->data[2 * i + 1] / 48, points + i * P);
    (void)golden_compare(r, "out.pe.coords_48x64", points, coords->count / 2 * P);
    MSA_AUTO_FREE float *cells = units_floats(grid->count);
    msa_position_grid(gaussian->data, P, 3, 5, cells);
    MSA_AUTO_FREE float *planes = units_to_channels_first(cells, 1, P, 15);
    (void)golden_compare(r, "out.pe.grid_3x5", planes, grid->count);
}
