/* The shapes of what we answer, one line a member. Tests compare real answers with them. */
#include "server/http/internal.h"

#include <ctype.h>
#include <string.h>

/**
 * type: "string", "integer", "number", "boolean", "date-time", "object", or the name of a schema (capital
 * first), each with "[]" for a list (of `length` when not 0) and "?" when it may be null. A "-" in front: the
 * member may be absent.
 */
typedef struct member {
    const char *schema, *name, *type;
    int length;
    const char *help;
} member;

/* clang-format off */
static const member members[] = {
    {"Problem", "type", "string", 0, "urn:msad:problem:..."},
    {"Problem", "title", "string", 0, "the HTTP status in words"},
    {"Problem", "status", "integer", 0, "the HTTP status"},
    {"Problem", "detail", "string", 0, "what was wrong"},

    {"Health", "status", "string", 0, "ok"},
    {"Health", "version", "string", 0, "of msad"},

    {"Ready", "status", "string", 0, "ready"},
    {"Ready", "version", "string", 0, "of msad"},
    {"Ready", "disk", "Disk", 0, "the volume of storage.path"},
    {"Disk", "room", "string", 0, "enough; low: fewer associations are taken; full: nothing is received"},
    {"Disk", "free_bytes", "integer", 0, "that may be used"},
    {"Disk", "total_bytes", "integer", 0, ""},
    {"Disk", "what", "string?", 0, "what to do, when it is low"},

    {"JobList", "jobs", "Job[]", 0, "newest first"},
    {"JobList", "next_cursor", "string?", 0, "for the next page; null on the last"},
    {"Job", "id", "string", 0, "opaque"},
    {"Job", "state", "string", 0, "receiving, waiting_prompt, queued, running, delivering; final: succeeded, succeeded_empty, failed, cancelled"},
    {"Job", "priority", "string", 0, "urgent, normal or background: which of the queued jobs is begun first"},
    {"Job", "series_instance_uid", "string", 0, "of the images"},
    {"Job", "study_instance_uid", "string?", 0, ""},
    {"Job", "modality", "string?", 0, ""},
    {"Job", "attempt", "integer", 0, "how often it has been started"},
    {"Job", "max_attempts", "integer", 0, ""},
    {"Job", "created_at", "date-time?", 0, ""},
    {"Job", "queued_at", "date-time?", 0, ""},
    {"Job", "started_at", "date-time?", 0, ""},
    {"Job", "finished_at", "date-time?", 0, ""},
    {"Job", "progress", "Progress", 0, ""},
    {"Job", "rule", "string?", 0, "that decided, by its name or number; null until one has"},
    {"Job", "model", "JobModel?", 0, "null until the job is bound to one"},
    {"Job", "prompts", "integer", 0, "boxes and points that the job works with"},
    {"Job", "warnings", "string[]", 0, "what was noticed and did not stop the job"},
    {"Job", "reason", "string?", 0, "why it failed"},
    {"Job", "preview_href", "string?", 0, "a picture of the result"},
    {"Job", "slices_href", "string?", 0, "key slices, without and with their masks"},
    {"Job", "segments", "Segment[]", 0, "what was found"},
    {"Job", "results", "Result[]", 0, "the DICOM objects made"},
    {"Job", "deliveries", "Delivery[]", 0, "where they were sent"},
    {"Job", "supersedes", "string?", 0, "id of the job whose result this one replaces"},
    {"NewPriority", "priority", "string", 0, "urgent, normal or background"},
    {"Progress", "done", "integer", 0, "steps"},
    {"Progress", "total", "integer", 0, "steps; 0 until known"},
    {"JobModel", "name", "string", 0, "of several, where labels need different adapters, all names"},
    {"JobModel", "version", "string?", 0, "null for several"},
    {"JobModel", "hash", "string?", 0, "SHA-256 of base and adapter; of several, that of their hashes"},
    {"JobModel", "untrained", "boolean", 0, "true: random weights; results mean nothing"},
    {"Segment", "number", "integer", 0, "Segment Number (0062,0004)"},
    {"Segment", "label", "string", 0, ""},
    {"Segment", "voxels", "integer", 0, ""},
    {"Segment", "volume_ml", "number?", 0, ""},
    {"Segment", "first_slice", "integer", 0, "from 0 along the slice normal"},
    {"Segment", "last_slice", "integer", 0, ""},
    {"Segment", "mean_predicted_iou", "number?", 0, "the model's own estimate, over the slices that were decoded"},
    {"Segment", "candidates", "Candidates?", 0, "the model's masks where the first prompt lies; null without a prompt"},
    {"Segment", "note", "string?", 0, "why propagation stopped"},
    {"Candidates", "slice", "integer", 0, "the lowest that was prompted, from 0 along the slice normal"},
    {"Candidates", "predicted_iou", "number[]", 0, "of each mask: 0 answers a box or several points, 1 to 3 a single point, from part to whole; or one a class; the first 16"},
    {"Candidates", "chosen", "integer", 0, "which of them was taken, from 0"},
    {"Result", "number", "integer", 0, ""},
    {"Result", "form", "string?", 0, "of a segmentation: binary, fractional or labelmap, and after hyphens what else a destination wants: ohif, deflate, empty"},
    {"Result", "sop_class_uid", "string", 0, ""},
    {"Result", "sop_instance_uid", "string", 0, ""},
    {"Result", "series_instance_uid", "string", 0, ""},
    {"Result", "size_bytes", "integer", 0, ""},
    {"Result", "sha256", "string", 0, ""},
    {"Result", "href", "string", 0, "where to fetch it"},
    {"Delivery", "id", "string", 0, ""},
    {"Delivery", "destination", "string", 0, "name in the configuration"},
    {"Delivery", "result", "integer", 0, "number of the result"},
    {"Delivery", "state", "string", 0, "pending, sending, delivered, dead or cancelled"},
    {"Delivery", "attempt", "integer", 0, ""},
    {"Delivery", "dimse_status", "string?", 0, "of the last answer, four hexadecimal digits"},
    {"Delivery", "comment", "string?", 0, "what the last try ended with"},
    {"Delivery", "delivered_at", "date-time?", 0, ""},
    {"Delivery", "next_try_at", "date-time?", 0, ""},

    {"Event", "kind", "string", 0, "job, series, delivery, refusal or instance"},
    {"Event", "subject", "string", 0, "id of the job (also of a delivery), Series or SOP Instance UID, SHA-256, or calling AE title"},
    {"Event", "state", "string", 0, "what it is now; of a job that turned out to repeat the one before it: dropped"},
    {"Event", "detail", "string?", 0, "of a job its Series Instance UID, of a delivery its destination, else the reason"},
    {"Event", "at", "date-time?", 0, ""},
    {"JobProgress", "id", "string", 0, "of the job"},
    {"JobProgress", "done", "integer", 0, "steps"},
    {"JobProgress", "total", "integer", 0, "steps; 0 until known"},
    {"JobProgress", "started_at", "date-time?", 0, ""},

    {"SeriesList", "series", "Series[]", 0, "newest first"},
    {"SeriesList", "next_cursor", "string?", 0, "for the next page; null on the last"},
    {"Series", "series_instance_uid", "string", 0, ""},
    {"Series", "study_instance_uid", "string?", 0, ""},
    {"Series", "modality", "string?", 0, ""},
    {"Series", "body_part", "string?", 0, ""},
    {"Series", "state", "string", 0, "open (more is expected) or closed"},
    {"Series", "closed_by", "string?", 0, "the evidence that closed it: forced, expected_count, study_count, source_count, acquisition_count, association_end or quiet"},
    {"Series", "held", "boolean", 0, "true: not closed, and nothing begun, until it is released"},
    {"Series", "sender", "string?", 0, "the AE title that sent its first image"},
    {"Series", "instances", "integer", 0, "images in use"},
    {"Series", "slices", "integer", 0, "frames of these images"},
    {"Series", "expected_instances", "integer?", 0, "as told over REST, else Number of Series Related Instances"},
    {"Series", "source_instances", "integer?", 0, "how many its source had when it was asked last"},
    {"Series", "prompts", "integer", 0, ""},
    {"Series", "first_received_at", "date-time?", 0, ""},
    {"Series", "last_received_at", "date-time?", 0, ""},
    {"Series", "closed_at", "date-time?", 0, ""},
    {"Series", "rejected", "-integer", 0, "instances that could not be used (one series only)"},
    {"Series", "jobs", "-JobLink[]", 0, "newest first, at most 100 (one series only)"},
    {"Expected", "instances", "integer", 0, "1..1000000; 0 takes back what was said"},
    {"JobLink", "id", "string", 0, ""},
    {"JobLink", "state", "string", 0, ""},
    {"JobLink", "created_at", "date-time?", 0, ""},
    {"JobLink", "href", "string", 0, ""},

    {"NewAnnotation", "series_instance_uid", "-string", 0, "needed by items that name a slice, or are in millimetres"},
    {"NewAnnotation", "frame_of_reference_uid", "-string", 0, "instead of a series: items in millimetres lie on every CT and MR series of it"},
    {"NewAnnotation", "boxes", "-NewBox[]", 0, "at least one box or point; at most 4096 together"},
    {"NewAnnotation", "points", "-NewPoint[]", 0, ""},
    {"NewBox", "box", "-number[]", 4, "x0, y0, x1, y1 in pixels; 0,0 is the outer corner of the first pixel"},
    {"NewBox", "box_mm", "-number[]", 6, "or x0, y0, z0, x1, y1, z1: DICOM patient coordinates (LPS) in mm; prompts every slice that it crosses"},
    {"NewBox", "slices", "-integer[]", 2, "instead of slice: the first and the last of a box in 3D"},
    {"NewPoint", "point", "-number[]", 2, "x, y in pixels; 0,0 is the outer corner of the first pixel"},
    {"NewPoint", "point_mm", "-number[]", 3, "or x, y, z: DICOM patient coordinates (LPS) in mm; lies on the nearest slice"},
    {"NewPoint", "positive", "-boolean", 0, "false: not part of the object; default true"},
    {"Code", "value", "string", 0, "at most 16 characters"},
    {"Code", "scheme", "string", 0, "SCT, DCM, ..."},
    {"Code", "meaning", "string", 0, "at most 64 characters"},
    {"CreatedAnnotation", "id", "string", 0, "of an uploaded file its SHA-256"},
    {"CreatedAnnotation", "prompts", "integer?", 0, "boxes and points taken; null: the file is read later"},
    {"CreatedAnnotation", "href", "string", 0, "where to look"},

    {"AnnotationList", "annotations", "Annotation[]", 0, "one entry for each prompt, and for each series that it lies on"},
    {"AnnotationList", "next_cursor", "string?", 0, "for the next page; null on the last"},
    {"Annotation", "annotation_id", "string?", 0, "of the POST; null for a stored object"},
    {"Annotation", "source", "string", 0, "rest or dicom"},
    {"Annotation", "source_sop_class_uid", "string?", 0, ""},
    {"Annotation", "source_sop_instance_uid", "string?", 0, ""},
    {"Annotation", "created_at", "date-time?", 0, ""},
    {"Annotation", "label", "string", 0, ""},
    {"Annotation", "kind", "string", 0, "box, point, region (an area that the stored object draws) or key_image (results lie on key images only)"},
    {"Annotation", "box", "number[]?", 4, ""},
    {"Annotation", "box_mm", "number[]?", 6, ""},
    {"Annotation", "point", "number[]?", 2, ""},
    {"Annotation", "point_mm", "number[]?", 3, ""},
    {"Annotation", "region", "integer?", 0, "Segment Number or ROI Number"},
    {"Annotation", "positive", "boolean?", 0, "of points"},
    {"Annotation", "waiting", "boolean", 0, "its images have not come"},
    {"Annotation", "waits_for", "WaitsFor?", 0, "null when they have"},
    {"WaitsFor", "what", "string", 0, "image, series or frame_of_reference"},
    {"WaitsFor", "uid", "string", 0, "its UID"},
    {"WaitsFor", "since", "date-time?", 0, ""},
    {"Annotation", "series_instance_uid", "string?", 0, "on which it lies, or which it names"},
    {"Annotation", "frame_of_reference_uid", "string?", 0, "when the annotation named it"},
    {"Annotation", "sop_instance_uid", "string?", 0, "when the annotation named the image"},
    {"Annotation", "frame", "integer?", 0, "from 1"},
    {"Annotation", "slice", "integer?", 0, "from 0 along the slice normal"},
    {"Annotation", "tracking_id", "string?", 0, ""},
    {"Annotation", "tracking_uid", "string?", 0, ""},
    {"Annotation", "category", "Code?", 0, ""},
    {"Annotation", "type", "Code?", 0, ""},
    {"Annotation", "site", "Code?", 0, ""},

    {"AssociationList", "associations", "Association[]", 0, "newest first"},
    {"AssociationList", "refusals", "Refusal[]", 0, "newest first"},
    {"AssociationList", "next_cursor", "string?", 0, "for the next page; null on the last"},
    {"Association", "calling_ae", "string?", 0, ""},
    {"Association", "called_ae", "string?", 0, ""},
    {"Association", "peer", "string?", 0, ""},
    {"Association", "opened_at", "date-time?", 0, ""},
    {"Association", "closed_at", "date-time?", 0, "null: still open"},
    {"Association", "ended", "string?", 0, "how"},
    {"Association", "sender", "string?", 0, "the entry under senders that let it in; null: there are none"},
    {"Association", "tls", "string?", 0, "TLSv1.3, TLSv1.2; null: without TLS"},
    {"Association", "instances", "integer", 0, "stored in it"},
    {"Refusal", "at", "date-time?", 0, "the last time"},
    {"Refusal", "count", "integer", 0, "how often"},
    {"Refusal", "calling_ae", "string?", 0, ""},
    {"Refusal", "peer", "string?", 0, ""},
    {"Refusal", "what", "string?", 0, "what was refused"},
    {"Refusal", "reason", "string?", 0, "in one sentence"},
    {"InstanceList", "instances", "Instance[]", 0, "newest first"},
    {"InstanceList", "next_cursor", "string?", 0, "for the next page; null on the last"},
    {"Instance", "sop_instance_uid", "string?", 0, "null: an upload that has not been read yet"},
    {"Instance", "sop_class_uid", "string?", 0, ""},
    {"Instance", "transfer_syntax_uid", "string?", 0, ""},
    {"Instance", "state", "string", 0, "received, then indexed or rejected"},
    {"Instance", "kind", "string?", 0, "image or annotation; null until it has been read"},
    {"Instance", "sha256", "string", 0, "of the file"},
    {"Instance", "superseded", "boolean", 0, "a newer version of it counts"},
    {"Instance", "size_bytes", "integer", 0, ""},
    {"Instance", "received_at", "date-time?", 0, ""},
    {"Instance", "reason", "string?", 0, "why it could not be used"},
    {"Instance", "note", "string?", 0, "of an annotation: why it prompts nothing, or what was passed over"},
    {"Instance", "prompts", "integer", 0, "of an annotation, as far as nothing newer has replaced them"},

    {"DestinationList", "destinations", "Destination[]", 0, ""},
    {"Destination", "name", "string", 0, ""},
    {"Destination", "ae_title", "string", 0, ""},
    {"Destination", "host", "string", 0, ""},
    {"Destination", "port", "integer", 0, ""},
    {"Destination", "tls", "boolean", 0, "DICOM over TLS"},
    {"Destination", "circuit", "Circuit?", 0, ""},
    {"Circuit", "state", "string", 0, "closed: it is sent to; open: it failed several times in a row, and nothing is tried before next_try_at; trying: one delivery is tried"},
    {"Circuit", "failures", "integer", 0, "in a row"},
    {"Circuit", "next_try_at", "date-time?", 0, ""},
    {"Circuit", "comment", "string?", 0, "what the last failure was"},
    {"DeliveryList", "deliveries", "Delivery[]", 0, "newest first"},
    {"DeliveryList", "next_cursor", "string?", 0, "null on the last page"},
    {"Requeued", "requeued", "integer", 0, "deliveries that are pending again"},
    {"Echo", "destination", "string", 0, "its name"},
    {"Echo", "reached", "boolean", 0, "it answered the C-ECHO with Success"},
    {"Echo", "milliseconds", "integer", 0, "until the answer"},
    {"Echo", "dimse_status", "string?", 0, "four hexadecimal digits; null without an answer"},
    {"Echo", "comment", "string?", 0, "what was wrong"},
    {"ModelList", "models", "Model[]", 0, "the base, the adapters of model.adapters_dir, and others that rules name"},
    {"ModelList", "rules", "Rule[]", 0, "the first that fits chooses the model of a prompt; the last fits all"},
    {"Model", "kind", "string", 0, "base or adapter"},
    {"Model", "adapter", "string?", 0, "what rules call it; null: the base"},
    {"Model", "name", "string", 0, "of base and adapter together"},
    {"Model", "version", "string?", 0, ""},
    {"Model", "hash", "string?", 0, "SHA-256 of base and adapter, as jobs and results name it"},
    {"Model", "untrained", "boolean", 0, "true: random weights; results mean nothing"},
    {"Model", "file_sha256", "string?", 0, "of the file alone"},
    {"Model", "base_sha256", "string?", 0, "of the base that the adapter was trained on"},
    {"Model", "size_bytes", "integer", 0, "of the file"},
    {"Model", "parameters", "integer", 0, "in the file"},
    {"Model", "profile", "Profile?", 0, "null where the file does not say"},
    {"Model", "card", "Card?", 0, ""},
    {"Model", "rules", "integer[]", 0, "numbers of the rules that choose it"},
    {"Model", "error", "string?", 0, "why it cannot be used"},
    {"Profile", "image_size", "integer", 0, "pixels of the square that the network sees"},
    {"Profile", "decoder_wiring", "-string", 0, "sam or esam"},
    {"Profile", "pad_order", "-string", 0, "norm_then_pad or pad_then_norm"},
    {"Profile", "mask_select", "-string", 0, "sam, or first: further masks are classes"},
    {"Profile", "mask_tokens", "-integer", 0, ""},
    {"Profile", "input_norm", "-string", 0, "sam, unit, medsam or sam_on_unit"},
    {"Profile", "geometry", "-string", 0, "longest_side or stretch"},
    {"Profile", "crop_margin", "-number", 0, "above 0: the network sees a part of the slice around a small box"},
    {"Profile", "box_as_mask", "-boolean", 0, ""},
    {"Profile", "box_in_image", "-boolean", 0, ""},
    {"Profile", "point_order_yx", "-boolean", 0, "clicks are (row, column)"},
    {"Card", "path", "string", 0, "NAME.md beside the file, or CARD.md of the folder"},
    {"Card", "title", "string?", 0, "its first heading"},
    {"RuleList", "rules", "Rule[]", 0, "the first that fits"},
    {"Rule", "number", "integer", 0, "from 1, as the configuration counts; they are tried in this order"},
    {"Rule", "name", "string?", 0, ""},
    {"Rule", "modality", "string", 0, "of the series; * for any, as in all that a rule is for"},
    {"Rule", "body_part", "string", 0, "Body Part Examined of the series"},
    {"Rule", "label", "string", 0, "of the prompt, or its finding as SCHEME:VALUE"},
    {"Rule", "study", "string", 0, "a glob for the Study Description"},
    {"Rule", "series", "string", 0, "a glob for the Series Description"},
    {"Rule", "protocol", "string", 0, "a glob for the Protocol Name"},
    {"Rule", "sender", "string", 0, "a glob for the calling AE title"},
    {"Rule", "orientation", "string", 0, "axial, sagittal, coronal or oblique"},
    {"Rule", "slices_min", "integer?", 0, ""},
    {"Rule", "slices_max", "integer?", 0, ""},
    {"Rule", "spacing_max_mm", "number?", 0, "between neighbouring slices"},
    {"Rule", "prompts", "string", 0, "what becomes of a series that nobody annotated: wait, auto, default-box or skip"},
    {"Rule", "box_percent", "integer?", 0, "of default-box"},
    {"Rule", "regions", "string", 0, "how areas that annotations draw become prompts: box or mask"},
    {"Rule", "default_label", "string?", 0, "of objects that nobody named"},
    {"Rule", "labels", "string?", 0, "codes of labels"},
    {"Rule", "settle_ms", "integer?", 0, "null: as under completeness"},
    {"Rule", "quiet_ms", "integer?", 0, "null: as under completeness"},
    {"Rule", "contours", "string", 0, "none, or rtstruct: results as an RT Structure Set as well"},
    {"Rule", "pictures", "string", 0, "none, or capture: key slices as Secondary Capture images as well"},
    {"Rule", "destinations", "string[]", 0, "names of those that results go to"},
    {"Rule", "adapter", "string?", 0, "what it calls; null: the base alone"},
    {"Rule", "model", "string?", 0, "name of what it chooses; null: its adapter cannot be used and the rule is passed over"},
    {"Rule", "hash", "string?", 0, ""},
    {"RuleQuestion", "job", "-string", 0, "id of a job, and nothing else; or what is known of a series. As application/dicom: one of its images"},
    {"RuleQuestion", "modality", "-string", 0, ""},
    {"RuleQuestion", "body_part", "-string", 0, "Body Part Examined"},
    {"RuleQuestion", "study", "-string", 0, "Study Description"},
    {"RuleQuestion", "series", "-string", 0, "Series Description"},
    {"RuleQuestion", "protocol", "-string", 0, "Protocol Name"},
    {"RuleQuestion", "sender", "-string", 0, "calling AE title"},
    {"RuleQuestion", "orientation", "-string", 0, "axial, sagittal, coronal, oblique or mixed"},
    {"RuleQuestion", "slices", "-integer", 0, "how many there are"},
    {"RuleQuestion", "spacing_mm", "-number", 0, "between neighbouring slices"},
    {"RuleQuestion", "label", "-string", 0, "of a prompt"},
    {"RuleAnswer", "subject", "RuleSubject", 0, "the series as rules see it, without its free texts"},
    {"RuleAnswer", "verdict", "RuleVerdict", 0, "the rule for the series as a whole: it decides on prompts, completeness and destinations"},
    {"RuleAnswer", "prompts", "string", 0, "what becomes of the series when nobody annotates it"},
    {"RuleAnswer", "destinations", "string[]", 0, "where results go"},
    {"RuleAnswer", "labels", "LabelVerdict[]", 0, "the rule that chooses the model of each label's prompts"},
    {"RuleSubject", "modality", "string?", 0, ""},
    {"RuleSubject", "body_part", "string?", 0, ""},
    {"RuleSubject", "orientation", "string?", 0, ""},
    {"RuleSubject", "sender", "string?", 0, ""},
    {"RuleSubject", "slices", "integer?", 0, ""},
    {"RuleSubject", "spacing_mm", "number?", 0, ""},
    {"RuleVerdict", "rule", "string", 0, "its name, else its number"},
    {"RuleVerdict", "number", "integer", 0, ""},
    {"RuleVerdict", "why", "string", 0, "what it is for"},
    {"RuleVerdict", "model", "string?", 0, "name of what it chooses"},
    {"RuleVerdict", "passed", "PassedRule[]", 0, "the rules before it"},
    {"PassedRule", "rule", "string", 0, "its name, else its number"},
    {"PassedRule", "number", "integer", 0, ""},
    {"PassedRule", "why", "string", 0, "why it is not for this"},
    {"LabelVerdict", "label", "string", 0, ""},
    {"LabelVerdict", "verdict", "RuleVerdict", 0, ""},
};

/* Members that an annotation and each of its items may carry. */
static const member described[] = {
    {NULL, "label", "-string", 0, "what is segmented, at most 64 characters; needed here or in the whole annotation"},
    {NULL, "tracking_id", "-string", 0, "at most 64 characters"},
    {NULL, "tracking_uid", "-string", 0, ""},
    {NULL, "category", "-Code", 0, ""},
    {NULL, "type", "-Code", 0, ""},
    {NULL, "site", "-Code", 0, ""},
};
static const member placed[] = {
    {NULL, "slice", "-integer", 0, "from 0 along the slice normal, in the series as it is when it is complete; or:"},
    {NULL, "sop_instance_uid", "-string", 0, "the image it lies on"},
    {NULL, "frame", "-integer", 0, "from 1, with sop_instance_uid"},
};
/* clang-format on */
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static json_t *one_of_null(json_t *schema)
{
    return json_pack("{s:[o, {s:s}]}", "anyOf", schema, "type", "null");
}

static json_t *type_of(const char *type, int length)
{
    char base[40];
    const size_t n = strcspn(type, "[?");
    const bool list = type[n] == '[', null = strchr(type, '?') != NULL;
    json_t *schema = NULL;
    (void)snprintf(base, sizeof base, "%.*s", (int)n, type);
    if (isupper((unsigned char)base[0])) {
        char ref[80];
        (void)snprintf(ref, sizeof ref, "#/components/schemas/%s", base);
        schema = json_pack("{s:s}", "$ref", ref);
    } else if (strcmp(base, "date-time") == 0) {
        schema = json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
    } else {
        schema = json_pack("{s:s}", "type", base);
    }
    if (list) schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
    if (list && length > 0) {
        (void)json_object_set_new(schema, "minItems", json_integer(length));
        (void)json_object_set_new(schema, "maxItems", json_integer(length));
    }
    return null ? one_of_null(schema) : schema;
}

static void add_member(json_t *schemas, const char *name, const member *m)
{
    json_t *schema = json_object_get(schemas, name);
    if (schema == NULL) {
        schema = json_pack("{s:s, s:{}, s:[], s:b}", "type", "object", "properties", "required",
                           "additionalProperties", false);
        (void)json_object_set_new(schemas, name, schema);
    }
    const bool optional = m->type[0] == '-';
    json_t *type = type_of(m->type + optional, m->length);
    if (m->help[0] != '\0') (void)json_object_set_new(type, "description", json_string(m->help));
    (void)json_object_set_new(json_object_get(schema, "properties"), m->name, type);
    if (!optional) (void)json_array_append_new(json_object_get(schema, "required"), json_string(m->name));
}

json_t *srv_openapi_schemas(void)
{
    static const char *const with_label[] = {"NewAnnotation", "NewBox", "NewPoint"};
    json_t *schemas = json_object();
    for (size_t i = 0; i < COUNT(members); i++)
        add_member(schemas, members[i].schema, &members[i]);
    for (size_t s = 0; s < COUNT(with_label); s++) {
        for (size_t i = 0; i < COUNT(described); i++)
            add_member(schemas, with_label[s], &described[i]);
        for (size_t i = 0; s > 0 && i < COUNT(placed); i++)
            add_member(schemas, with_label[s], &placed[i]);
    }
    (void)json_object_set_new(schemas, "OpenApi", json_pack("{s:s}", "type", "object"));
    return schemas;
}
