/* A contact sheet of synthetic samples with the outlines of their targets, for the eye; or the time they
 * take. usage: synth_sheet OUT.png SEED FIRST COLUMNS ROWS [SIZE] | synth_sheet --bench COUNT [SIZE
 * [TARGETS]] */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/cleanup.h"
#include "engine/train/synth.h"

enum { TARGETS = 8 };

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

/* Left plain, right with the outlines, one colour for each target. */
static void place(const float *image, const uint8_t *targets, int32_t n_targets, int32_t size, uint8_t *rgb,
                  int32_t width, int32_t at_x, int32_t at_y)
{
    static const uint8_t colour[TARGETS][3] = {{255, 220, 0},  {0, 200, 255},  {255, 80, 80},
                                               {90, 230, 90},  {230, 90, 230}, {255, 150, 40},
                                               {90, 120, 255}, {200, 200, 200}};
    for (int32_t y = 0; y < size; y++)
        for (int32_t x = 0; x < size; x++) {
            const uint8_t grey = (uint8_t)(image[y * size + x] * 255);
            uint8_t *plain = rgb + 3 * ((size_t)(at_y + y) * (size_t)width + (size_t)(at_x + x));
            uint8_t *drawn = plain + 3 * (size_t)size;
            memset(plain, grey, 3);
            memset(drawn, grey, 3);
            for (int32_t k = 0; k < n_targets; k++)
                if (on_outline(targets + (size_t)k * (size_t)size * (size_t)size, size, x, y))
                    memcpy(drawn, colour[k], 3);
        }
}

static msa_status make(uint64_t seed, uint64_t index, int32_t size, bool whole, float *image,
                       uint8_t *targets, int32_t *n_targets, msa_error *err)
{
    msa_synth_picture p = {
        .depth = 1, .size = size, .targets_max = TARGETS, .image = image, .targets = targets};
    *n_targets = 1;
    if (!whole) {
        MSA_TRY(msa_synth_sample(seed, index, &p, err));
        *n_targets = p.n_targets;
        return MSA_OK;
    }
    MSA_AUTO(msa_synth) s = NULL;
    MSA_TRY(msa_synth_new(&s, seed, index, err));
    const msa_synth_view view = msa_synth_overview(s);
    return msa_synth_render(s, &view, 1, size, image, targets, err);
}

static int sheet(const char *path, uint64_t seed, uint64_t first, int32_t columns, int32_t rows, int32_t size,
                 bool whole)
{
    const int32_t cell_x = 2 * size + 4, cell_y = size + 4, width = columns * cell_x, height = rows * cell_y;
    const size_t n = (size_t)size * (size_t)size;
    MSA_AUTO_FREE uint8_t *rgb = calloc((size_t)width * (size_t)height, 3);
    MSA_AUTO_FREE float *image = malloc(n * sizeof *image);
    MSA_AUTO_FREE uint8_t *targets = malloc(TARGETS * n);
    msa_error err = MSA_ERROR_INIT;
    if (!rgb || !image || !targets) return 1;
    for (int32_t k = 0; k < columns * rows; k++) {
        int32_t n_targets;
        if (make(seed, first + (uint64_t)k, size, whole, image, targets, &n_targets, &err) != MSA_OK)
            return die(&err);
        place(image, targets, n_targets, size, rgb, width, k % columns * cell_x, k / columns * cell_y);
    }
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    return png_image_write_to_file(&png, path, 0, rgb, 0, NULL) ? 0 : 1;
}

static int bench(int32_t count, int32_t size, int32_t targets_max)
{
    const size_t n = (size_t)size * (size_t)size;
    MSA_AUTO_FREE float *image = malloc(n * sizeof *image);
    MSA_AUTO_FREE uint8_t *targets = malloc(TARGETS * n);
    msa_synth_picture p = {
        .depth = 1, .size = size, .targets_max = targets_max, .image = image, .targets = targets};
    msa_error err = MSA_ERROR_INIT;
    struct timespec a, b;
    int32_t found = 0;
    if (!image || !targets || targets_max < 1 || targets_max > TARGETS) return 1;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (int32_t k = 0; k < count; k++) {
        if (msa_synth_sample(1, (uint64_t)k, &p, &err) != MSA_OK) return die(&err);
        found += p.n_targets;
    }
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    const double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    (void)printf("%d pictures of %d x %d with %d targets: %.2f ms of CPU each\n", count, size, size, found,
                 s * 1000 / count);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "--bench") == 0)
        return bench(atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 128, argc > 4 ? atoi(argv[4]) : 4);
    const bool whole = argc > 1 && strcmp(argv[1], "--scenes") == 0;
    argc -= whole ? 1 : 0;
    argv += whole ? 1 : 0;
    if (argc < 6) {
        (void)fprintf(stderr, "usage: synth_sheet [--scenes] OUT.png SEED FIRST COLUMNS ROWS [SIZE]\n"
                              "       synth_sheet --bench COUNT [SIZE [TARGETS]]\n");
        return 2;
    }
    return sheet(argv[1], strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), atoi(argv[4]),
                 atoi(argv[5]), argc > 6 ? atoi(argv[6]) : 128, whole);
}
