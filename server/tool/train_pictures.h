/* What a training run leaves for the eye: its curve, and what the model finds in validation pictures. */
#ifndef SRV_TOOL_TRAIN_PICTURES_H
#define SRV_TOOL_TRAIN_PICTURES_H

#include "engine/training.h"

/* ---- the curve ---- */

#define SRV_PLOT_WIDTH  900
#define SRV_PLOT_HEIGHT 700

/* From curve.csv at `csv`: loss above, Dice below; nothing is written while it has no row. The picture is
 * replaced whole. Errors: MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_plot_write(const char *csv, const char *path, msa_error *err);

/* ---- sheets of samples ---- */

#define SRV_SHEET_TILES 24
#define SRV_SHEETS_KEPT 5

typedef struct srv_sheet srv_sheet;

/* Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_sheet_new(srv_sheet **out, msa_error *err);
void srv_sheet_free(srv_sheet *s);
MSA_DEFINE_AUTO(srv_sheet, srv_sheet_free);
/* An msa_train_view_fn; ctx is the sheet. Draws the view while there is room; a failure shows in the write.
 */
void srv_sheet_view(void *ctx, const msa_train_view *view);
/* step-NNNNNN.png in `dir`, which is made when need be; NNNNNN: steps done. Then all but the newest sheets
 * go. Errors: MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_sheet_write(srv_sheet *s, const char *dir, int64_t steps, double mean_dice,
                                         msa_error *err);
/* Removes sheets of more than `steps` steps: they will be made again. */
void srv_sheets_drop_after(const char *dir, int64_t steps);

#endif
