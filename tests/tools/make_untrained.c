/* make_untrained FILE...: writes a model of seeded random weights that says that it is untrained.
 * make_untrained --preset NAME IMAGE_SIZE FILE [SLICES]: as `msa bench` knows NAME, with adapters; with a
 * depth branch where it says how many slices are seen together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/benchmark.h"
#include "engine/model.h"

/* Small enough that a slice costs tens of milliseconds on one core; a window of 8 divides the 16 x 16 grid.
 */
static const msa_config config = {.image_size = 256,
                                  .patch = 16,
                                  .dim = 192,
                                  .depth = 6,
                                  .heads = 3,
                                  .mlp_dim = 768,
                                  .window = 8,
                                  .n_global = 2,
                                  .global_blocks = {2, 5},
                                  .prompt_dim = 128,
                                  .decoder_depth = 2,
                                  .decoder_heads = 8,
                                  .decoder_mlp_dim = 512,
                                  .iou_hidden = 128,
                                  .mask_tokens = 4,
                                  .adapters = true,
                                  .adapter_act = MSA_ACT_GELU,
                                  .adapter_mlp_scale = 0.5f,
                                  .decoder_wiring = MSA_WIRING_SAM,
                                  .pad_order = MSA_PAD_THEN_NORM,
                                  .mask_select = MSA_SELECT_SAM,
                                  .input_norm = MSA_NORM_SAM,
                                  .geometry = MSA_GEOMETRY_LONGEST_SIDE,
                                  .untrained = true,
                                  .name = "msad-untrained-tiny",
                                  .version = "0"};

static int make(const char *path, const msa_config *c)
{
    msa_error err = MSA_ERROR_INIT;
    if (msa_model_write_random(path, c, 2304, &err) == MSA_OK) return 0;
    fprintf(stderr, "make_untrained: %s\n", err.what);
    return 1;
}

int main(int argc, char **argv)
{
    msa_config c;
    const bool deep = argc == 6;
    if ((argc == 5 || deep) && strcmp(argv[1], "--preset") == 0 &&
        msa_benchmark_preset(&c, argv[2], (int32_t)strtol(argv[3], NULL, 10),
                             deep ? MSA_BENCHMARK_3D : MSA_BENCHMARK_2D,
                             deep ? (int32_t)strtol(argv[5], NULL, 10) : 1))
        return make(argv[4], &c);
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(
            stderr,
            "usage: make_untrained FILE...\n       make_untrained --preset NAME IMAGE_SIZE FILE [SLICES]\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        if (make(argv[i], &config) != 0) return 1;
    return 0;
}
