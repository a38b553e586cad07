/* A contact sheet of training samples with the outlines of their targets, for the eye; or the time they take.
 * Drawn scenes, or slices of a NIfTI case. */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/cleanup.h"
#include "engine/train/data.h"
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

/* Where pictures come from: the generator, its whole scenes, or a NIfTI case. */
typedef struct origin {
    uint64_t seed;
    bool whole;
    msa_source *cases; /* NULL: the generator */
    msa_sample *sample;
} origin;

static void origin_clear(origin *o)
{
    msa_source_free(o->cases);
    msa_sample_free(o->sample);
}

static msa_status origin_open(origin *o, const char *folder, int32_t size, int32_t targets_max,
                              msa_error *err)
{
    const msa_volumes_options how = msa_volumes_defaults(o->seed);
    msa_case *c;
    MSA_TRY(msa_sample_new(&o->sample, 1, size, targets_max, err));
    if (!folder) return msa_source_synthetic(&o->cases, o->seed, err);
    MSA_TRY(msa_case_load(&c, folder, err));
    return msa_source_volumes(&o->cases, &c, 1, &how, err);
}

static msa_status make(const origin *o, uint64_t index, msa_error *err)
{
    msa_sample *to = o->sample;
    if (!o->whole) return msa_source_next(o->cases, index, 0, to, err);
    MSA_AUTO(msa_synth) s = NULL;
    MSA_TRY(msa_synth_new(&s, o->seed, index, err));
    const msa_synth_view view = msa_synth_overview(s);
    to->n_targets = 1;
    return msa_synth_render(s, &view, 1, to->size, to->image, to->targets, err);
}

static int sheet(const origin *o, const char *path, uint64_t first, int32_t columns, int32_t rows)
{
    const int32_t size = o->sample->size, cell_x = 2 * size + 4, cell_y = size + 4;
    const int32_t width = columns * cell_x, height = rows * cell_y;
    MSA_AUTO_FREE uint8_t *rgb = calloc((size_t)width * (size_t)height, 3);
    msa_error err = MSA_ERROR_INIT;
    if (!rgb) return 1;
    for (int32_t k = 0; k < columns * rows; k++) {
        if (make(o, first + (uint64_t)k, &err) != MSA_OK) return die(&err);
        place(o->sample->image, o->sample->targets, o->sample->n_targets, size, rgb, width,
              k % columns * cell_x, k / columns * cell_y);
    }
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    return png_image_write_to_file(&png, path, 0, rgb, 0, NULL) ? 0 : 1;
}

static int bench(const origin *o, int32_t count)
{
    msa_error err = MSA_ERROR_INIT;
    struct timespec a, b;
    int32_t found = 0;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (int32_t k = 0; k < count; k++) {
        if (make(o, (uint64_t)k, &err) != MSA_OK) return die(&err);
        found += o->sample->n_targets;
    }
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    const double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    (void)printf("%d pictures of %d x %d with %d targets: %.2f ms of CPU each\n", count, o->sample->size,
                 o->sample->size, found, s * 1000 / count);
    return 0;
}

static int usage(void)
{
    (void)fprintf(stderr,
                  "usage: synth_sheet [--scenes | --case FOLDER] OUT.png SEED FIRST COLUMNS ROWS [SIZE]\n"
                  "       synth_sheet [--case FOLDER] --bench COUNT [SIZE [TARGETS]]\n");
    return 2;
}

int main(int argc, char **argv)
{
    __attribute__((cleanup(origin_clear))) origin o = {.seed = 1};
    const char *folder = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (argc > 2 && strcmp(argv[1], "--case") == 0) {
        folder = argv[2];
        argc -= 2;
        argv += 2;
    } else if (argc > 1 && strcmp(argv[1], "--scenes") == 0) {
        o.whole = true;
        argc--;
        argv++;
    }
    if (argc >= 3 && strcmp(argv[1], "--bench") == 0) {
        if (origin_open(&o, folder, argc > 3 ? atoi(argv[3]) : 128, argc > 4 ? atoi(argv[4]) : 4, &err) !=
            MSA_OK)
            return die(&err);
        return bench(&o, atoi(argv[2]));
    }
    if (argc < 6) return usage();
    o.seed = strtoull(argv[2], NULL, 10);
    if (origin_open(&o, folder, argc > 6 ? atoi(argv[6]) : 128, TARGETS, &err) != MSA_OK) return die(&err);
    return sheet(&o, argv[1], strtoull(argv[3], NULL, 10), atoi(argv[4]), atoi(argv[5]));
}
