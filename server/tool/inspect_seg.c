/* `msa inspect` of a DICOM segmentation: what is wrong with it. */
#include <stdio.h>
#include <string.h>

#include "dicom/seg_check.h"
#include "server/tool/tool.h"

bool srv_tool_is_dicom(const char *path)
{
    char head[132] = "";
    FILE *file = fopen(path, "rb");
    if (file == NULL) return false;
    const bool read = fread(head, 1, sizeof head, file) == sizeof head;
    (void)fclose(file);
    return read && memcmp(head + 128, "DICM", 4) == 0;
}

static void print_defect(void *ctx, const char *sentence)
{
    (void)ctx;
    (void)printf("%s\n", sentence);
}

int srv_tool_inspect_seg(const char *path, const char *series_dir)
{
    msa_error err = MSA_ERROR_INIT;
    dicom_seg_summary s;
    if (dicom_init(&err) != MSA_OK ||
        dicom_seg_check(path, series_dir, print_defect, NULL, &s, &err) != MSA_OK)
        return srv_tool_fail(&err);
    if (s.defects > 0) {
        (void)printf("%zu defect%s\n", s.defects, s.defects == 1 ? "" : "s");
        return fflush(stdout) == 0 ? SRV_EXIT_DEFECTS : SRV_EXIT_NO_INPUT;
    }
    (void)printf("no defect: %s, %d segment%s, %d frame%s of %d x %d", s.type, s.segments,
                 s.segments == 1 ? "" : "s", s.frames, s.frames == 1 ? "" : "s", s.rows, s.cols);
    if (series_dir != NULL) (void)printf(", on %d image%s", s.images, s.images == 1 ? "" : "s");
    (void)printf("%s\n", series_dir != NULL ? "" : "; where it lies was not checked, as --series was not given");
    return fflush(stdout) == 0 ? SRV_EXIT_OK : SRV_EXIT_NO_INPUT;
}
