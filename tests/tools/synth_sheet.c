/* A contact sheet of synthetic samples with the outlines of their targets, for the eye; or the time they
 * take. usage: synth_sheet OUT.png SEED FIRST COLUMNS ROWS [SIZE] | synth_sheet --bench COUNT [SIZE] */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/cleanup.h"
#include "engine/train/synth.h"

static int die(const msa_error *err)
{
    (void)fprintf(stderr, "synth_sheet: %s\n", err->what);
    return 1;
}

static bool on_outline(const uint8_t *t, int32_t size, int32_t x, int32_t y)
{
    const uint8_t own = t[y * size + x];
    if (own == 0) return false;
    if (x == 0 || y == 0 || x + 1 == size || y + 1 == size) return true;
    return t[y * size + x - 1] != own || t[y * size + x + 1] != own || t[(y - 1) * size + x] != own ||
           t[(y + 1) * size + x] != own;
}

/* The picture with the outline; every other one without, so that both can be judged: left plain, right drawn.
 */
static void place(const float *image, const uint8_t *target, int32_t size, uint8_t *rgb, int32_t width,
                  int32_t at_x, int32_t at_y)
{
    for (int32_t y = 0; y < size; y++)
        for (int32_t x = 0; x < size; x++) {
            const uint8_t grey = (uint8_t)(image[y * size + x] * 255);
            uint8_t *plain = rgb + 3 * ((size_t)(at_y + y) * (size_t)width + (size_t)(at_x + x));
            uint8_t *drawn = plain + 3 * (size_t)size;
            memset(plain, grey, 3);
            memset(drawn, grey, 3);
            if (on_outline(target, size, x, y)) {
                drawn[0] = 255;
                drawn[1] = 220;
                drawn[2] = 0;
            }
        }
}

static msa_status make(uint64_t seed, uint64_t index, int32_t size, bool whole, float *image, uint8_t *target,
                       msa_error *err)
{
    int32_t rows, cols;
    if (!whole) return msa_synth_sample(seed, index, 1, size, image, target, &rows, &cols, err);
    MSA_AUTO(msa_synth) s = NULL;
    MSA_TRY(msa_synth_new(&s, seed, index, err));
    const msa_synth_view view = msa_synth_overview(s);
    return msa_synth_render(s, &view, 1, size, image, target, err);
}

static int sheet(const char *path, uint64_t seed, uint64_t first, int32_t columns, int32_t rows, int32_t size,
                 bool whole)
{
    const int32_t cell_x = 2 * size + 4, cell_y = size + 4, width = columns * cell_x, height = rows * cell_y;
    const size_t n = (size_t)size * (size_t)size;
    MSA_AUTO_FREE uint8_t *rgb = calloc((size_t)width * (size_t)height, 3);
    MSA_AUTO_FREE float *image = malloc(n * sizeof *image);
    MSA_AUTO_FREE uint8_t *target = malloc(n);
    msa_error err = MSA_ERROR_INIT;
    if (!rgb || !image || !target) return 1;
    for (int32_t k = 0; k < columns * rows; k++) {
        if (make(seed, first + (uint64_t)k, size, whole, image, target, &err) != MSA_OK) return die(&err);
        place(image, target, size, rgb, width, k % columns * cell_x, k / columns * cell_y);
    }
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    return png_image_write_to_file(&png, path, 0, rgb, 0, NULL) ? 0 : 1;
}

static int bench(int32_t count, int32_t size)
{
    const size_t n = (size_t)size * (size_t)size;
    MSA_AUTO_FREE float *image = malloc(n * sizeof *image);
    MSA_AUTO_FREE uint8_t *target = malloc(n);
    msa_error err = MSA_ERROR_INIT;
    struct timespec a, b;
    if (!image || !target) return 1;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (int32_t k = 0; k < count; k++) {
        int32_t rows, cols;
        if (msa_synth_sample(1, (uint64_t)k, 1, size, image, target, &rows, &cols, &err) != MSA_OK)
            return die(&err);
    }
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    const double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    (void)printf("%d samples of %d x %d in %.2f s of CPU: %.1f per second\n", count, size, size, s,
                 count / s);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "--bench") == 0)
        return bench(atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 128);
    const bool whole = argc > 1 && strcmp(argv[1], "--scenes") == 0;
    argc -= whole ? 1 : 0;
    argv += whole ? 1 : 0;
    if (argc < 6) {
        (void)fprintf(stderr, "usage: synth_sheet [--scenes] OUT.png SEED FIRST COLUMNS ROWS [SIZE]\n"
                              "       synth_sheet --bench COUNT [SIZE]\n");
        return 2;
    }
    return sheet(argv[1], strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), atoi(argv[4]),
                 atoi(argv[5]), argc > 6 ? atoi(argv[6]) : 128, whole);
}
