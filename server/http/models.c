/* GET /v1/models: the base, its adapters, and the rules that choose among them. */
#include "server/http/internal.h"

/* The members of model files' configuration that make a profile: how a slice and a prompt become input, and
 * which of the decoder's masks is the answer. */
static json_t *profile_of(const char *config)
{
    static const char *const members[] = {"image_size",  "decoder_wiring", "pad_order",     "mask_select",
                                          "mask_tokens", "input_norm",     "geometry",      "crop_margin",
                                          "box_as_mask", "box_in_image",   "point_order_yx"};
    json_t *all = json_loads(config, 0, NULL);
    if (all == NULL) return json_null();
    json_t *profile = json_object();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        json_t *value = json_object_get(all, members[i]);
        if (value != NULL) (void)json_object_set(profile, members[i], value);
    }
    json_decref(all);
    return profile;
}

static json_t *card_of(const srv_model_info *m)
{
    if (m->card_path[0] == '\0') return json_null();
    return json_pack("{s:o, s:o}", "path", srv_json_string(m->card_path), "title",
                     srv_json_text(m->card_title));
}

/* Numbers of the rules that choose model i. */
static json_t *rules_of(const srv_model_table *t, int32_t model)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < t->n_rules; i++)
        if (t->rules[i].model == model) (void)json_array_append_new(list, json_integer(t->rules[i].number));
    return list;
}

static json_t *model_json(const srv_model_table *t, int32_t i)
{
    const srv_model_info *m = &t->models[i];
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "kind",
        i == 0 ? "base" : "adapter", "adapter", srv_json_text(m->adapter), "name", srv_json_string(m->name),
        "version", srv_json_text(m->version), "hash", srv_json_text(m->hash), "untrained", m->untrained,
        "file_sha256", srv_json_text(m->file_sha256), "base_sha256", srv_json_text(m->base_sha256),
        "size_bytes", (json_int_t)m->size_bytes, "parameters", (json_int_t)m->parameters, "profile",
        profile_of(m->config), "card", card_of(m), "rules", rules_of(t, i), "error", srv_json_text(m->error));
}

void srv_get_models(srv_request *req)
{
    const srv_model_table *t = req->http->env.models;
    json_t *models = json_array();
    for (int32_t i = 0; i < t->n_models; i++)
        (void)json_array_append_new(models, model_json(t, i));
    srv_reply_json(&req->reply, MHD_HTTP_OK,
                   json_pack("{s:o, s:o}", "models", models, "rules", srv_rules_view(t)));
}
