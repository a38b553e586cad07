/* Reference files and the accounting of what was compared with them. */
#ifndef MSA_TESTS_GOLDEN_GOLDEN_H
#define MSA_TESTS_GOLDEN_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/io/safetensors.h"
#include "engine/model.h"

typedef struct golden_file golden_file;
typedef struct golden_report golden_report;

MSA_NODISCARD msa_status golden_open(golden_file **out, const char *path, msa_error *err);
void golden_close(golden_file *f);
const char *golden_path(const golden_file *f);

/* NULL when there is none. The tensor has name, data, rank, shape[], count; it lives as long as the file. */
const msa_tensor *golden_find(const golden_file *f, const char *name);
/* The same with a composed name: golden_findf(f, "out.bilinear.%dx%d", h, w). */
const msa_tensor *golden_findf(const golden_file *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int32_t golden_count(const golden_file *f);
const msa_tensor *golden_at(const golden_file *f, int32_t i);
const char *golden_meta(const golden_file *f, const char *key);

MSA_NODISCARD msa_status golden_report_new(golden_report **out, const golden_file *f, msa_error *err);
void golden_report_free(golden_report *r);

/**
 * Compares `got` (n values) with the reference tensor `name`, under the tolerance that the format's README
 * gives for this class of tensor; prints the first index, wanted, got, tolerance when it fails. A wrong n, an
 * unknown name and a non-finite value fail. True when it passed.
 */
bool golden_compare(golden_report *r, const char *name, const float *got, int64_t n);
/* The same where the reference is stored in another order or is a part; `got` is in the reference's order. */
bool golden_comparef(golden_report *r, const float *got, int64_t n, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Names why a tensor is not compared; a literal, since reasons are grouped by their text. */
void golden_skip(golden_report *r, const char *name, const char *reason);
/* Every out., grad. and step. tensor with this prefix that has been neither compared nor skipped. */
void golden_skip_prefix(golden_report *r, const char *prefix, const char *reason);
/* The replay itself could not be done: the file fails with this sentence. */
void golden_fail(golden_report *r, const char *sentence);

/* Prints the line of the file and, indented below it, the groups that were skipped; true when ok. */
bool golden_report_finish(golden_report *r, FILE *to);

/* open_model.c: what the metadata says about the model, and the weights it names. */
bool golden_config(msa_config *c, const golden_file *f);
MSA_NODISCARD msa_status golden_model(msa_model **m, const golden_file *f, const msa_config *c,
                                      msa_error *err);
uint64_t golden_seed(const golden_file *f);

/* check_units.c: the operators of a file whose variant is "unit operators". */
void golden_check_units(const golden_file *f, golden_report *r);
/* check_model.c: image encoder, prompt cases and post-processing of a model file. */
void golden_check_model(const golden_file *f, golden_report *r);
/* check_train.c: loss, gradients, optimiser steps and the loss trajectory of a training file. */
void golden_check_train(const golden_file *f, golden_report *r);
/* check_lora.c: an encoder with low-rank updates, merged and apart, and the gradients of their factors. */
void golden_check_lora(const golden_file *f, golden_report *r);
/* check_variants.c: EfficientSAM, and MobileSAM's encoder with and without adapters. */
void golden_check_efficient(const golden_file *f, golden_report *r);
void golden_check_mobile(const golden_file *f, golden_report *r);
/* check_adalora.c: blocks with AdaLoRA's updates, and the gradients of their factors. */
void golden_check_adalora(const golden_file *f, golden_report *r);
/* check_decoder_adapters.c: mask decoder with adapters, outputs and gradients. */
void golden_check_decoder_adapters(const golden_file *f, golden_report *r);

#endif
