/**
 * Training as a program sees it: what it can be told, and a run that steps, stops and goes on. A run is a
 * function of its options: the same on any number of threads, and however often it was interrupted.
 */
#ifndef MSA_ENGINE_TRAINING_H
#define MSA_ENGINE_TRAINING_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/cases.h"

#define MSA_ROUNDS_MAX  16
#define MSA_LANES_MAX   64
#define MSA_TARGETS_MAX 32

/* Which parameters train. Names as published: "Adapter" marks the adapters (arXiv:2304.12620). */
typedef enum msa_train_set {
    MSA_TRAIN_ADAPTERS, /* the paper: adapters of the image encoder (and of the decoder where it has some) */
    MSA_TRAIN_ADAPTERS_DECODER, /* adapters and the whole mask decoder: what the published code does */
    MSA_TRAIN_ALL,              /* everything but the Fourier matrix: to make a base */
    MSA_TRAIN_LORA, /* low-rank updates of the image encoder's projections (arXiv:2106.09685), nothing else */
} msa_train_set;

typedef enum msa_schedule { MSA_SCHEDULE_CONSTANT, MSA_SCHEDULE_COSINE, MSA_SCHEDULE_STEP } msa_schedule;

typedef struct msa_optimizer_options {
    bool momentum_only; /* v = beta1 v + g, value -= lr v: stochastic gradient descent; beta2 and eps are not
                           used */
    bool decoupled; /* AdamW: weight decay beside the gradient (Loshchilov and Hutter); else Adam with L2 */
    double lr, beta1, beta2, eps, weight_decay;
    msa_schedule schedule;
    int64_t warmup_steps, total_steps; /* linear warm-up; cosine down to lr_min at total_steps */
    double lr_min;
    int64_t step_every; /* MSA_SCHEDULE_STEP: times step_factor every so many steps */
    double step_factor;
    double clip_norm; /* of all gradients together; 0: none */
    double ema_decay; /* 0: none */
} msa_optimizer_options;

/* Adam with the published defaults: rate lr, betas 0.9 and 0.999, eps 1e-8, constant, no decay, no clipping.
 */
msa_optimizer_options msa_optimizer_defaults(double lr);

typedef enum msa_loss_kind {
    MSA_LOSS_BCE,
    MSA_LOSS_DICE,       /* DiceCE of MONAI before 1.3 over one channel: its cross-entropy is zero */
    MSA_LOSS_DICE_BCE,   /* DiceCE from MONAI 1.3 on */
    MSA_LOSS_FOCAL_DICE, /* SAM's */
} msa_loss_kind;

typedef struct msa_loss_options {
    msa_loss_kind kind;
    double positive_weight;           /* of BCE */
    bool dice_plain;                  /* p + t below the line instead of p^2 + t^2 */
    double focal_alpha, focal_gamma;  /* 0.25, 2 */
    double focal_weight, dice_weight; /* of MSA_LOSS_FOCAL_DICE: 20 : 1 in SAM */
} msa_loss_options;

/* Weights 1, except SAM's 20 : 1. */
msa_loss_options msa_loss_defaults(msa_loss_kind kind);

typedef struct msa_trainer_options {
    uint64_t seed;
    int32_t batch; /* pictures whose gradients are averaged in one step */
    int32_t
        lanes; /* so many of them are worked on side by side, one thread each, with memory for each; 1: all
                  threads work on one. Part of the result's bits, which the number of threads is not */
    int32_t targets; /* most targets learned from one picture: one run of the encoder serves all */
    msa_loss_options loss;
    double iou_weight;            /* of (predicted IoU - true IoU)^2 */
    double box_chance;            /* of a box as first prompt; else a click */
    double box_jitter, box_limit; /* msa_sample_box() */
    double more_chance;           /* of further rounds: a click at the error, the last mask fed back */
    int32_t rounds_max;           /* 1 .. MSA_ROUNDS_MAX, the first one counted */
    bool recompute;               /* less memory, more time: msa_encoder_pass_new() */
    msa_optimizer_options optimizer;
} msa_trainer_options;

/* Dice + BCE, boxes at 0.8, a second round at 0.5, Adam with rate lr. */
msa_trainer_options msa_trainer_defaults(uint64_t seed, double lr);

/* Means over the last hundred or so steps; part of a checkpoint. */
typedef struct msa_running {
    int64_t n;
    double loss, dice_first, dice_last; /* Dice after the first and after the last round */
} msa_running;

typedef struct msa_train_report {
    int64_t step; /* this one, from 0 */
    double loss, dice_first, dice_last, lr, grad_norm;
} msa_train_report;

/* ---- a run ---- */

typedef struct msa_training_options {
    const char *base;   /* model file to start from; NULL: `config` is a new model, which trains whole */
    const char *config; /* JSON, as model files carry it; not looked at with a base */
    const char *name, *version; /* of the result; NULL or "": those of the base or of `config` */
    int32_t image_size;         /* another one than the base's, when all of it trains; 0: the same */
    int32_t depth_slices; /* that see each other: a depth branch, which the base need not have; 0: as it */
    int32_t detail;       /* channels of msa_config.detail that the base does not have; 0: none */
    bool box_in_image;    /* msa_config.box_in_image, on a base that does not have it */
    bool half;            /* the result is stored in half precision */
    msa_train_set set;
    int32_t adapter_width; /* of adapters that the base does not have; 0: dim / 4 */
    int32_t lora_rank;     /* MSA_TRAIN_LORA: of the updates, which are scaled by alpha / rank; 0: 4, and */
    double lora_alpha;     /* 0: 1, as published */
    msa_trainer_options trainer;
    double synthetic, volumes;     /* weights of drawn scenes and of cases; not negative */
    msa_case_set cases;            /* learned from; n 0: none */
    msa_case_set validation_cases; /* of msa_training_validate(); n 0: scenes of another seed */
    int32_t cases_at_once;         /* in memory, of either; 0: all; else the sets must stay */
    const char *const *hold_out;   /* (n_hold_out) names of labels that are never a target */
    int32_t n_hold_out;
    bool all_orientations;       /* of cases: slices along every axis */
    float augment;               /* how often a picture of a case is augmented, 0..1 */
    int32_t validation_pictures; /* of msa_training_validate() */
    int32_t loaders;             /* threads that make pictures beside the training */
    const char *recipe_hash;     /* goes into checkpoints; stands for the options that shape the run */
} msa_training_options;

typedef struct msa_training msa_training;

/* Copies what it needs. Errors: those of msa_model_load() and of reading cases; MSA_E_INVALID; MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_training_open(msa_training **out, const msa_training_options *options,
                                           msa_error *err);
void msa_training_free(msa_training *t);
MSA_DEFINE_AUTO(msa_training, msa_training_free);
/* Before the first step: goes on from a checkpoint of the same recipe. Errors: as reading it fails. */
MSA_NODISCARD msa_status msa_training_resume(msa_training *t, const char *checkpoint, msa_error *err);
/* One step of the optimiser. After an error the run is over. Errors: naming step and layer when a value is
 * not finite. */
MSA_NODISCARD msa_status msa_training_step(msa_training *t, msa_train_report *report, msa_error *err);
/* One target of the validation pictures, and what the model found there with its tight box. */
typedef struct msa_train_view {
    int32_t size, rows, cols;      /* of the network's input, and how much of it the picture covers */
    const float *image;            /* (size, size) 0..1 */
    const uint8_t *target, *found; /* (size, size) 0 or 1 */
    float box[4];                  /* x0, y0, x1, y1: borders, pixels */
    double dice;
    const char *label;
} msa_train_view;

typedef void msa_train_view_fn(void *ctx, const msa_train_view *view);

/**
 * Mean loss and Dice (dice_first) over the options' validation pictures, the same ones every time, with the
 * moving average where there is one. They come from the validation cases; without such, from scenes of
 * another seed. Changes nothing of the run. `view` (may be NULL) sees every target, in order.
 */
MSA_NODISCARD msa_status msa_training_validate(msa_training *t, msa_train_report *report,
                                               msa_train_view_fn *view, void *ctx, msa_error *err);
/* Atomically: see engine/train/checkpoint.h. */
MSA_NODISCARD msa_status msa_training_save(const msa_training *t, const char *checkpoint, msa_error *err);
/* The model, or, when a base is frozen, the adapter; of the moving average where there is one. */
MSA_NODISCARD msa_status msa_training_export(const msa_training *t, const char *path, msa_error *err);

int64_t msa_training_steps(const msa_training *t); /* done so far */
const msa_running *msa_training_running(const msa_training *t);
int64_t msa_training_parameters(const msa_training *t, bool trained_only);
#endif
