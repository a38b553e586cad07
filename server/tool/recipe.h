/* What `msa train` is told: a YAML file of one level, with two maps (model, data) in it. */
#ifndef SRV_TOOL_RECIPE_H
#define SRV_TOOL_RECIPE_H

#include <stdio.h>

#include "engine/training.h"

#define SRV_RECIPE_PATH 1024

typedef struct srv_texts {
    char **list;
    int32_t n;
} srv_texts;

typedef struct srv_recipe {
    char base[SRV_RECIPE_PATH], out[SRV_RECIPE_PATH];
    char *config; /* of a new model, as JSON: base is "" */
    char name[SRV_RECIPE_PATH], version[SRV_RECIPE_PATH];
    int32_t image_size, depth_slices, detail;
    bool half, box_in_image;
    int32_t set; /* msa_train_set */
    int32_t adapter_width, lora_rank;
    double lora_alpha;
    int64_t steps;
    msa_trainer_options trainer;
    double synthetic, volumes;  /* weights of the sources of pictures */
    srv_texts cases, hold_out;  /* folders with labelled volumes; names of labels never used */
    int32_t cases_at_once;      /* in memory; 0: all */
    double validation_fraction; /* of the patients; 0: none */
    uint64_t validation_seed;
    srv_texts validation_cases; /* names, instead of a fraction */
    bool all_orientations;
    double augment;
    int32_t threads, loaders; /* 0: one a core */
    int64_t checkpoint_every, report_every;
    int64_t validate_every;                /* 0: never */
    int32_t validation_pictures, patience; /* patience 0: validation never ends the run */
    char hash[65]; /* of everything above that shapes the result; not of out, threads, loaders, ..._every,
                      patience */
} srv_recipe;

/**
 * Fills in the defaults, then the file. Every key is known, in its range and given once. A relative path
 * counts from where the program runs. Errors: MSA_E_PARSE with the line, MSA_E_NOT_FOUND, MSA_E_IO,
 * MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_recipe_read(srv_recipe *r, const char *path, msa_error *err);
void srv_recipe_clear(srv_recipe *r);
/* The keys with their defaults, as `msa train --help` prints them. */
void srv_recipe_print_keys(FILE *to);

#endif
