/* What a model is: read from the safetensors metadata, never compiled in. */
#ifndef MSA_ENGINE_CONFIG_H
#define MSA_ENGINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MSA_DEPTH_MAX    64
#define MSA_STACK_MAX    256 /* slices that are encoded together */
#define MSA_DEPTH_SLICES 8   /* where a profile with a depth branch does not say */
#define MSA_STAGES       4   /* of a TinyViT */

/* Which published network this is a form of. What is not said here is SAM's. */
typedef enum msa_family {
    MSA_FAMILY_SAM,
    MSA_FAMILY_EFFICIENTSAM, /* its prompt encoder (six points, no mask) and mask decoder, positions of 14 x
                                14 */
    MSA_FAMILY_MOBILE_SAM,   /* its image encoder, TinyViT: engine/sam/tiny_vit.h */
} msa_family;
typedef enum msa_decoder_wiring { MSA_WIRING_SAM, MSA_WIRING_ESAM } msa_decoder_wiring;
typedef enum msa_pad_order { MSA_NORM_THEN_PAD, MSA_PAD_THEN_NORM } msa_pad_order;
typedef enum msa_mask_select { MSA_SELECT_SAM, MSA_SELECT_FIRST } msa_mask_select;
typedef enum msa_activation { MSA_ACT_GELU, MSA_ACT_RELU } msa_activation;
/* Which of the decoder's layers carry adapters, and how the prompt enters them; adapt/decoder_adapter.h. */
typedef enum msa_decoder_adapters {
    MSA_DECODER_ADAPTERS_NONE,
    MSA_DECODER_ADAPTERS_FIRST,
    MSA_DECODER_ADAPTERS_ALL,
} msa_decoder_adapters;
typedef enum msa_decoder_adapter_mode { MSA_ADAPTER_ADD, MSA_ADAPTER_HYPER } msa_decoder_adapter_mode;
/* Which tokens of a stack of slices see each other along the depth axis, and how their sequence is laid out
 * for the relative positions; nn/depth_groups.h. */
typedef enum msa_depth_grouping { MSA_DEPTH_NONE, MSA_DEPTH_VOLUME, MSA_DEPTH_RUNS } msa_depth_grouping;
typedef enum msa_depth_layout { MSA_DEPTH_LINE, MSA_DEPTH_GRID } msa_depth_layout;
/* How a windowed 8-bit or 0..1 image becomes network input: differs between published models. */
typedef enum msa_input_norm {
    MSA_NORM_SAM,         /* 0..255, minus SAM's mean, over SAM's standard deviation */
    MSA_NORM_UNIT,        /* 0..1 */
    MSA_NORM_MEDSAM,      /* per-image min-max to 0..1 */
    MSA_NORM_SAM_ON_UNIT, /* SAM's mean and deviation on 0..1 data (an upstream defect, kept to load its
                             weights) */
} msa_input_norm;
/* How rows x columns become image_size x image_size. */
typedef enum msa_geometry { MSA_GEOMETRY_LONGEST_SIDE, MSA_GEOMETRY_STRETCH } msa_geometry;

/**
 * Sizes are counts, not bytes. S = image_size, g = S / patch (tokens per side), C = dim, P = prompt_dim.
 * JSON form (safetensors metadata key "config"): the same names in snake_case; enums by the names
 * sam|esam, norm_then_pad|pad_then_norm, sam|first, gelu|relu, sam|unit|medsam|sam_on_unit,
 * longest_side|stretch, none|first|all, add|hyper, none|volume|runs, line|grid, sam|efficientsam|mobile_sam.
 * Unknown keys are refused: a profile that is misread fails silently otherwise.
 */
typedef struct msa_config {
    msa_family family;
    int32_t image_size, patch, dim, depth, heads, mlp_dim;
    int32_t window; /* 0: every block is global */
    int32_t n_global;
    int32_t global_blocks[MSA_DEPTH_MAX];
    float block_norm_eps; /* of the norms in blocks; 0: SAM's, engine/nn/layernorm.h */
    /* MSA_FAMILY_MOBILE_SAM: its stages; dim, heads and window are those of the last, depth counts all
     * blocks, and mlp_dim / dim is the ratio of every stage. The first stage has no heads and no window. */
    int32_t stage_dims[MSA_STAGES], stage_depths[MSA_STAGES], stage_heads[MSA_STAGES],
        stage_windows[MSA_STAGES];
    int32_t prompt_dim, decoder_depth, decoder_heads, decoder_mlp_dim, iou_hidden, mask_tokens;
    bool adapters; /* Space and MLP adapters in every block; their width is that of D_fc1 */
    msa_activation adapter_act;
    float adapter_mlp_scale;               /* s of x + MLP(n) + s * Adapter(n); 0.5 */
    msa_decoder_adapters decoder_adapters; /* the two below are written only where there are some */
    msa_decoder_adapter_mode decoder_adapter_mode;
    msa_activation decoder_adapter_act;
    msa_depth_grouping
        depth_grouping; /* of the 3D branch; own models: volume, line. The two below as above */
    msa_depth_layout depth_fold;
    int32_t depth_chunk;  /* length of a run; 0: the whole stack in one */
    int32_t depth_slices; /* that see each other: a deeper volume is taken in windows of so many; 0: 8 */
    /* Low-rank updates of the projections, (lora_alpha / lora_rank) B A; adapt/lora.h. Rank 0: none. A model
     * that is loaded has none: they are merged into its weights. */
    int32_t lora_rank;
    float lora_alpha;
    bool adalora; /* the updates are of the adaptive form, adapt/lora.h: their scale is in the file */
    msa_decoder_wiring decoder_wiring;
    msa_pad_order pad_order;
    msa_mask_select mask_select;
    int32_t classes; /* of mask_select first: the first masks are as many classes, and a prompt gives one mask
                      * of each; 0: all of them where there are more than SAM's four, else one */
    msa_input_norm input_norm;
    msa_geometry geometry;
    /* A box that is small against its slice is looked at closely: the network sees a square around it, this
     * part of the box's longer side wider on every side. 0: always the whole slice. */
    float crop_margin;
    bool box_as_mask; /* a box without a mask prompt is also given as one: filled; engine/sam/prompt_encoder.h
                       */
    bool box_in_image; /* the network sees the box in its picture, engine/sam/prompt_picture.h; the encoder
                        * then runs once for a box, not once for a picture */
    int32_t detail;    /* > 0: a pyramid of convolutions, this wide at its finest, beside the tokens, for them
                        * and for the up-scaling of masks; engine/sam/detail.h */
    bool point_order_yx; /* clicks are (row, column): upstream eras A to C */
    bool untrained;      /* card says so; results carry it */
    char name[64];       /* "msad-untrained-tiny" */
    char version[32];
} msa_config;

/* Masks that a prompt is to be asked for: the classes of a model that has several, else 1. */
int32_t msa_config_classes(const msa_config *c);

/* Slices that the encoder is given at once: 1 without a depth branch. */
static inline int32_t msa_config_slices(const msa_config *c)
{
    if (c->depth_grouping == MSA_DEPTH_NONE) return 1;
    return c->depth_slices > 0 ? c->depth_slices : MSA_DEPTH_SLICES;
}

#ifdef __cplusplus
}
#endif
#endif
