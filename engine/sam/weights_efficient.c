#include <stdio.h>

#include "engine/sam/walk.h"

#define POSITIONS 14 /* a side, of the published models */

/* A row for the class, which nobody looks at, then those of a square grid. */
void msa_walk_efficient_positions(msa_walk *w, msa_encoder_weights *e)
{
    int32_t side = 0, rows = 1 + POSITIONS * POSITIONS;
    msa_walk_visit(
        w, "pos_embed",
        (msa_weight_spec){
            .rank = 3, .shape = {1, rows, w->c->dim}, .free_axes = 2u, .to = &e->pos_embed, .size = {&rows}});
    while ((side + 1) * (side + 1) < rows)
        side++;
    if (w->status == MSA_OK && (side == 0 || side * side + 1 != rows))
        w->status = msa_fail(w->err, MSA_E_PARSE, "pos_embed has %d rows, not one more than a square", rows);
    e->pos_h = e->pos_w = side;
}

void msa_walk_efficient_prompt(msa_walk *w, msa_prompt_weights *p)
{
    const int32_t P = w->c->prompt_dim;
    msa_walk_enter(w, "prompt_encoder.");
    msa_walk_matrix(w, "pe_layer.positional_encoding_gaussian_matrix", 2, P / 2, &p->gaussian);
    msa_walk_matrix(w, "point_embeddings.weight", 1, P, &p->point[1]);
    msa_walk_matrix(w, "bbox_top_left_embeddings.weight", 1, P, &p->point[2]);
    msa_walk_matrix(w, "bbox_bottom_right_embeddings.weight", 1, P, &p->point[3]);
    msa_walk_matrix(w, "invalid_points.weight", 1, P, &p->not_a_point);
}

static void mlp3(msa_walk *w, const char *name, int32_t hidden, int32_t out, msa_mlp3_weights *m)
{
    char part[64];
    (void)snprintf(part, sizeof part, "%s.layers.0.0", name);
    msa_walk_dense(w, part, hidden, w->c->prompt_dim, &m->layer[0]);
    (void)snprintf(part, sizeof part, "%s.layers.1.0", name);
    msa_walk_dense(w, part, hidden, hidden, &m->layer[1]);
    (void)snprintf(part, sizeof part, "%s.fc", name);
    msa_walk_dense(w, part, out, hidden, &m->layer[2]);
}

/* A transposed convolution whose width is the file's own. */
static void upscale(msa_walk *w, const char *name, int32_t in, int32_t *out, const float **weight,
                    const float **bias)
{
    char part[64];
    (void)snprintf(part, sizeof part, "%s.weight", name);
    msa_walk_visit(w, part,
                   (msa_weight_spec){
                       .rank = 4, .shape = {in, *out, 2, 2}, .free_axes = 2u, .to = weight, .size = {out}});
    (void)snprintf(part, sizeof part, "%s.bias", name);
    msa_walk_vector(w, part, *out, bias);
}

void msa_walk_efficient_heads(msa_walk *w, msa_decoder_weights *d)
{
    const msa_config *c = w->c;
    msa_walk_enter(w, "mask_decoder.");
    upscale(w, "final_output_upscaling_layers.0.0", c->prompt_dim, &d->up_width[0], &d->up1_weight,
            &d->up1_bias);
    msa_walk_norm(w, "final_output_upscaling_layers.0.1", d->up_width[0], &d->up_norm);
    upscale(w, "final_output_upscaling_layers.1.0", d->up_width[0], &d->up_width[1], &d->up2_weight,
            &d->up2_bias);
    for (int32_t i = 0; i < c->mask_tokens; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "output_hypernetworks_mlps.%d", i);
        mlp3(w, name, c->prompt_dim, d->up_width[1], &d->hyper[i]);
    }
    mlp3(w, "iou_prediction_head", c->iou_hidden, c->mask_tokens, &d->iou);
}
