#include "engine/convert/profile.h"

#include <stdio.h>
#include <string.h>

#include "engine/convert.h"

typedef struct profile {
    const char *name, *meaning;
    msa_input_norm norm;
    msa_geometry geometry;
    bool yx;
    msa_mask_select select;
    msa_depth_grouping depth;
    msa_depth_layout fold;
    bool adapted;              /* adapters, or a base for them: MSA's order of windows and norms */
    msa_decoder_wiring wiring; /* what the tensors must show when there are adapters */
    bool old_tables;
} profile;

/* Eras of MSA's repository, by their first year: how it normalised images and read clicks changed, and is in
 * no tensor. Profiles of volumes are those of its 3D branch. */
static const profile profiles[] = {
    {"sam", "SAM, MobileSAM and EfficientSAM as published, and LoRA on them", MSA_NORM_SAM,
     MSA_GEOMETRY_LONGEST_SIDE, false, MSA_SELECT_SAM, MSA_DEPTH_NONE, MSA_DEPTH_LINE, false, MSA_WIRING_SAM,
     true},
    {"medsam", "MedSAM", MSA_NORM_MEDSAM, MSA_GEOMETRY_STRETCH, false, MSA_SELECT_SAM, MSA_DEPTH_NONE,
     MSA_DEPTH_LINE, false, MSA_WIRING_SAM, true},
    {"msa2023", "MSA of 2023", MSA_NORM_UNIT, MSA_GEOMETRY_STRETCH, true, MSA_SELECT_SAM, MSA_DEPTH_NONE,
     MSA_DEPTH_LINE, true, MSA_WIRING_SAM, true},
    {"msa2023-3d", "the same for volumes", MSA_NORM_UNIT, MSA_GEOMETRY_STRETCH, true, MSA_SELECT_SAM,
     MSA_DEPTH_RUNS, MSA_DEPTH_GRID, true, MSA_WIRING_SAM, true},
    {"msa2024-01", "MSA of January 2024", MSA_NORM_UNIT, MSA_GEOMETRY_STRETCH, true, MSA_SELECT_SAM,
     MSA_DEPTH_NONE, MSA_DEPTH_LINE, true, MSA_WIRING_ESAM, true},
    {"msa2024-01-3d", "the same for volumes", MSA_NORM_UNIT, MSA_GEOMETRY_STRETCH, true, MSA_SELECT_SAM,
     MSA_DEPTH_RUNS, MSA_DEPTH_GRID, true, MSA_WIRING_ESAM, true},
    {"msa2024", "MSA from February 2024 to April 2025; the Adapter Zoo", MSA_NORM_UNIT, MSA_GEOMETRY_STRETCH,
     true, MSA_SELECT_FIRST, MSA_DEPTH_NONE, MSA_DEPTH_LINE, true, MSA_WIRING_ESAM, false},
    {"msa2024-3d", "the same for volumes", MSA_NORM_UNIT, MSA_GEOMETRY_STRETCH, true, MSA_SELECT_FIRST,
     MSA_DEPTH_RUNS, MSA_DEPTH_GRID, true, MSA_WIRING_ESAM, false},
    {"msa2025", "MSA from May 2025", MSA_NORM_SAM, MSA_GEOMETRY_STRETCH, false, MSA_SELECT_FIRST,
     MSA_DEPTH_NONE, MSA_DEPTH_LINE, true, MSA_WIRING_ESAM, false},
    {"msa2025-3d", "the same for volumes", MSA_NORM_SAM_ON_UNIT, MSA_GEOMETRY_STRETCH, true, MSA_SELECT_FIRST,
     MSA_DEPTH_RUNS, MSA_DEPTH_GRID, true, MSA_WIRING_ESAM, false},
    {"sdtrans", "adapters of 2023 whose depth branch runs over whole volumes, as the paper has it",
     MSA_NORM_UNIT, MSA_GEOMETRY_STRETCH, true, MSA_SELECT_SAM, MSA_DEPTH_VOLUME, MSA_DEPTH_LINE, true,
     MSA_WIRING_SAM, true},
};
#define N_PROFILES ((int32_t)(sizeof profiles / sizeof profiles[0]))

const char *msa_convert_profile(int32_t i, const char **meaning)
{
    if (i < 0 || i >= N_PROFILES) return NULL;
    *meaning = profiles[i].meaning;
    return profiles[i].name;
}

/* Why not, or NULL. A plain SAM may be made a base for any adapters. */
static const char *contradiction(const profile *p, const msa_config *c, const msa_seen *seen)
{
    const bool sam = c->family == MSA_FAMILY_SAM;
    if (!p->adapted && c->adapters) return "the file has adapters";
    if (p->depth != MSA_DEPTH_NONE && !c->adapters) return "the file has no adapters, and so no depth branch";
    if (p->depth != MSA_DEPTH_NONE && c->family == MSA_FAMILY_MOBILE_SAM)
        return "a TinyViT has no depth branch";
    if (!c->adapters || !sam) return NULL;
    if (seen->own_decoder && p->wiring != c->decoder_wiring)
        return c->decoder_wiring == MSA_WIRING_SAM ? "the mask decoder is SAM's"
                                                   : "the mask decoder is EfficientSAM's";
    if (seen->own_tables && p->old_tables != seen->old_tables)
        return "the relative tables have the names of another year";
    return NULL;
}

static msa_status ask(const msa_config *c, const msa_seen *seen, msa_error *err)
{
    char list[160] = "";
    for (int32_t i = 0; i < N_PROFILES; i++) {
        const bool likely = c->adapters == profiles[i].adapted || c->lora_rank > 0;
        if (!likely || contradiction(&profiles[i], c, seen) != NULL) continue;
        const size_t used = strlen(list);
        (void)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", profiles[i].name);
    }
    return msa_fail(
        err, MSA_E_INVALID,
        "tensors do not show how images and clicks enter the network; say with --profile which it is: %s",
        list);
}

/* The order of windows and norms belongs to the adapters; LoRA has SAM's. */
static msa_pad_order pad_order(const profile *p, const msa_config *c)
{
    if (c->family == MSA_FAMILY_MOBILE_SAM || c->adapters) return MSA_PAD_THEN_NORM;
    return p->adapted && c->lora_rank == 0 ? MSA_PAD_THEN_NORM : MSA_NORM_THEN_PAD;
}

msa_status msa_profile_apply(msa_config *c, const char *name, const msa_seen *seen, msa_error *err)
{
    const profile *p = NULL;
    if (name == NULL) return ask(c, seen, err);
    for (int32_t i = 0; i < N_PROFILES; i++)
        if (strcmp(profiles[i].name, name) == 0) p = &profiles[i];
    if (p == NULL) return msa_fail(err, MSA_E_INVALID, "there is no profile %.40s", name);
    const char *why = contradiction(p, c, seen);
    if (why != NULL) return msa_fail(err, MSA_E_INVALID, "profile %s does not fit: %s", name, why);
    c->input_norm = p->norm;
    /* EfficientSAM and MobileSAM as published: the first is shown the stretched picture */
    c->geometry = c->family == MSA_FAMILY_EFFICIENTSAM ? MSA_GEOMETRY_STRETCH : p->geometry;
    c->point_order_yx = p->yx;
    c->mask_select = c->mask_tokens > 4 ? MSA_SELECT_FIRST : p->select;
    c->depth_grouping = p->depth;
    c->depth_fold = p->fold;
    c->pad_order = pad_order(p, c);
    /* EfficientSAM was published with 1e-6, which 0 stands for; MSA's copy of it leaves PyTorch's default */
    c->block_norm_eps = c->family == MSA_FAMILY_EFFICIENTSAM && p->adapted ? 1e-5f : 0.0f;
    return MSA_OK;
}
