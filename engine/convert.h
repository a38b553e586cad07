/* Files of weights that others made, written as model files of this program. */
#ifndef MSA_ENGINE_CONVERT_H
#define MSA_ENGINE_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/config.h"

/* A field of the configuration and its value as text; engine/config.h names both. */
typedef struct msa_convert_setting {
    const char *key, *value;
} msa_convert_setting;

typedef struct msa_convert_options {
    /* What tensors do not show: how images enter the network, in what order clicks name their coordinates,
     * which slices see each other. A name of msa_convert_profile(), "base" (that of the base, a model of this
     * program), or NULL: only for files that carry a configuration. */
    const char *profile;
    const char *base;   /* a file that has the tensors that the first lacks; NULL: none */
    bool adapter;       /* write what differs from the base, a model of this program, as an adapter of it */
    bool half;          /* half precision instead of single */
    bool zero_tables;   /* relative positions of zero, as MSA has trained since 2024 */
    bool drop_unknown;  /* leave out tensors of the model's parts that this program has no place for */
    const char *prefix; /* of the names that are meant, where a file holds several models; NULL: all */
    const msa_convert_setting *settings; /* (n_settings) set last */
    int32_t n_settings;
} msa_convert_options;

typedef struct msa_convert_report {
    const char *format;        /* "torch archive", "old torch file", "safetensors" */
    int32_t tensors;           /* in the first file */
    int32_t matched;           /* of these, written */
    int32_t missing;           /* written from the base */
    int32_t unexpected;        /* of the first file, left out */
    char unexpected_name[128]; /* one of them; "": none */
    int32_t written;
    int64_t parameters;  /* written */
    bool base_decoder;   /* the mask decoder is the base's */
    int32_t zero_tables; /* tables of relative positions that are all zero, as upstream trained them from 2024
                            on */
    char source_sha256[65];
    msa_config config;
} msa_convert_report;

/**
 * Reads IN (a checkpoint of torch.save(), or safetensors; engine/io/checkpoint.h), brings its names into
 * ours, finds the configuration in names and shapes, and writes OUT, which msa_model_load() takes. Weights
 * are streamed: memory holds one tensor, not the model.
 *
 * Names may begin with anything before image_encoder., prompt_encoder. or mask_decoder. ("module.",
 * "state_dict.", ...). Positions and relative tables are written as they are; a model resizes them to its
 * image size when it is loaded.
 *
 * Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (a damaged file, a missing tensor, a value that is not
 * finite), MSA_E_UNSUPPORTED (a network, dtype or name that is not handled), MSA_E_INVALID (options that do
 * not fit the file; something that tensors do not show and options do not tell), MSA_E_NOMEM. Nothing is left
 * behind.
 */
MSA_NODISCARD msa_status msa_convert(const char *in, const char *out, const msa_convert_options *options,
                                     msa_convert_report *report, msa_error *err);

/* The setting alone, without a file. Errors: MSA_E_INVALID (no such key, or a value that it does not take).
 */
MSA_NODISCARD msa_status msa_convert_check_setting(const msa_convert_setting *setting, msa_error *err);

/* The i-th profile's name, and in one sentence what it is for; NULL after the last. */
const char *msa_convert_profile(int32_t i, const char **meaning);

#endif
