/* The reference of settings and the DICOM conformance statement, from the tables that the program works by.
 */
#include "server/doctor/doctor.h"

#include <string.h>

#include "dicom/conformance.h"
#include "dicom/send.h"
#include "server/core/config_table.h"

/* "|" would end a cell. */
static void cell(FILE *to, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '|') (void)fputc('\\', to);
        (void)fputc(*c, to);
    }
}

/* ---- settings ---- */

static void row(FILE *to, const srv_setting *s, const char *name, bool required)
{
    char range[64] = "text";
    if (s->kind == SRV_SETTING_INT) (void)snprintf(range, sizeof range, "%d to %d", s->min, s->max);
    if (s->kind == SRV_SETTING_NUMBER) (void)snprintf(range, sizeof range, "0 to %d", s->max);
    if (s->kind == SRV_SETTING_BOOL) (void)snprintf(range, sizeof range, "true or false");
    (void)fprintf(to, "| `%s` | %s | ", name, range);
    if (required)
        (void)fputs("none: it must be given", to);
    else if (s->kind == SRV_SETTING_INT || s->kind == SRV_SETTING_NUMBER)
        (void)fprintf(to, "%d", s->kind == SRV_SETTING_INT ? s->value : 0);
    else if (s->kind == SRV_SETTING_BOOL)
        (void)fputs(s->value != 0 ? "true" : "false", to);
    else if (s->text == NULL || s->text[0] == '\0')
        (void)fputs("empty", to);
    else
        (void)fprintf(to, "`%s`", s->text);
    (void)fputs(" | ", to);
    cell(to, s->help);
}

static void describe_settings(FILE *to)
{
    (void)fputs("# Settings\n\nMade by `msad --describe settings`; a test keeps it so. Order of force: "
                "built-in default, the "
                "file (`msad --config FILE`), the environment (`dicom.port` is `MSAD_DICOM_PORT`). `msad "
                "--print-config` "
                "prints those in force as a file that loads again. *Reload*: SIGHUP brings a change into "
                "force; a reload "
                "with any other change is refused as a whole.\n",
                to);
    for (size_t k = 0; k < srv_n_sections; k++) {
        (void)fprintf(
            to,
            "\n## %s\n\n%s\n\n| Setting | Values | Default | Meaning | |\n| --- | --- | --- | --- | --- |\n",
            srv_sections[k].name, srv_sections[k].help);
        for (size_t i = 0; i < srv_n_settings; i++) {
            char name[64];
            const srv_setting *s = &srv_settings[i];
            if (strcmp(s->section, srv_sections[k].name) != 0) continue;
            (void)snprintf(name, sizeof name, "%s.%s", s->section, s->key);
            row(to, s, name, false);
            (void)fputs(s->live ? " | reload |\n" : " | restart |\n", to);
        }
    }
    for (int k = 0; k < SRV_N_LISTS; k++) {
        const srv_list *list = &srv_lists[k];
        (void)fprintf(to,
                      "\n## %s\n\n%s At most %d. A change needs a %s.\n\n| Field | Values | Default | "
                      "Meaning |\n| --- | --- | "
                      "--- | --- |\n",
                      list->name, list->help, list->max, list->live ? "reload" : "restart");
        for (size_t i = 0; i < list->n_fields; i++) {
            row(to, &list->fields[i], list->fields[i].key, srv_setting_is_required(&list->fields[i]));
            (void)fputs(" |\n", to);
        }
    }
}

/* ---- conformance ---- */

static void uid_row(void *ctx, const char *uid, const char *name)
{
    (void)fprintf(ctx, "| %s | %s |\n", name, uid);
}

static void classes(FILE *to, const char *title)
{
    (void)fprintf(to, "\n%s\n\n| Name | UID |\n| --- | --- |\n", title);
}

static void answer_row(void *ctx, unsigned status, const char *meaning, int outcome)
{
    static const char *const done[] = {"delivered",
                                       "tried again, with growing pauses, for `delivery.give_up_h`",
                                       "given up after the second time"};
    (void)fprintf(ctx, "| %04X | %s | %s |\n", status, meaning, done[outcome]);
}

static void status_rows(FILE *to)
{
    static const struct {
        msa_status status;
        const char *when;
    } rows[] = {{MSA_OK, "the object is on the disk and in the catalogue, both synced"},
                {MSA_E_IO, "the disk or the catalogue failed, or there is no room; nothing is kept"},
                {MSA_E_PARSE, "what was sent is malformed, or not as the command said; nothing is kept"},
                {MSA_E_INTERNAL, "a fault of ours; nothing is kept"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        (void)fprintf(to, "| %04X | %s |\n", dicom_status_of(rows[i].status), rows[i].when);
}

/* The settings of a section, or those whose key holds `part`. */
static void parameters(FILE *to, const char *section, const char *part)
{
    (void)fputs("\n| Parameter | Values | Default | Meaning |\n| --- | --- | --- | --- |\n", to);
    for (size_t i = 0; i < srv_n_settings; i++) {
        char name[64];
        const srv_setting *s = &srv_settings[i];
        if ((section != NULL && strcmp(s->section, section) != 0) ||
            (part != NULL && strstr(s->key, part) == NULL))
            continue;
        (void)snprintf(name, sizeof name, "%s.%s", s->section, s->key);
        row(to, s, name, false);
        (void)fputs(" |\n", to);
    }
}

static void overview(FILE *to)
{
    (void)fputs(
        "# DICOM Conformance Statement\n\nMade by `msad --describe conformance`; a test keeps it so. In the "
        "order of "
        "PS3.2 annex A.\n\n"
        "## 1 Overview\n\nmsad receives CT and MR images and annotations, segments what the annotations "
        "point at, "
        "and sends segmentations and a report of measurements to the configured destinations.\n\n"
        "| Service | As user (SCU) | As provider (SCP) |\n| --- | --- | --- |\n| Verification | yes | yes |\n"
        "| Storage: images and annotations | no | yes |\n| Storage: segmentations, reports, structure sets | "
        "yes | yes |\n"
        "| Query (Study Root, C-FIND): how many images a series has | yes, of configured sources | no |\n\n"
        "No media storage. No worklist, no print, no retrieve.\n\n"
        "## 2 Introduction\n\nFor those who connect msad with other systems. That two statements agree does "
        "not prove that "
        "the systems work together: try it (`msad doctor`). msad is no medical device.\n",
        to);
}

static void networking(FILE *to)
{
    (void)fprintf(to,
                  "\n## 3 Networking\n\n### 3.1 Implementation model\n\nOne application entity. Each "
                  "association it accepts and each "
                  "delivery is a process of its own. What comes is stored unparsed, byte for byte; headers "
                  "are read afterwards, and "
                  "what cannot be read is told at `/v1/instances?state=rejected`.\n\n"
                  "Implementation Class UID %s, Implementation Version Name %s, application context "
                  "1.2.840.10008.3.1.1.1.\n\n"
                  "### 3.2 As acceptor\n",
                  DICOM_IMPLEMENTATION_CLASS_UID, DICOM_IMPLEMENTATION_VERSION);
    (void)fputs("\nVerification (1.2.840.10008.1.1) is accepted, and Storage of:\n", to);
    classes(to, "Images");
    dicom_each_taken_class(false, uid_row, to);
    classes(to, "Annotations");
    dicom_each_taken_class(true, uid_row, to);
    (void)fputs("\nTransfer syntaxes, the first that the sender offers of the uncompressed ones, else the "
                "sender's first; Verification "
                "in Explicit or Implicit VR Little Endian:\n\n| Name | UID |\n| --- | --- |\n",
                to);
    dicom_each_taken_syntax(uid_row, to);
    (void)fputs("\nAsynchronous operations are not negotiated. No extended negotiation. Whoever calls "
                "another AE title is rejected "
                "(permanent, called AE title not recognized) unless `dicom.accept_any_called_ae`; above "
                "`dicom.max_associations` "
                "associations are rejected (transient, local limit exceeded). Every refusal is told at "
                "`/v1/associations` with its "
                "remedy.\n\n| Status of C-STORE | When |\n| --- | --- |\n",
                to);
    status_rows(to);
    (void)fputs("\nThe same object again, byte for byte, is a Success. Another object of the same UID is "
                "kept beside the older one, "
                "and counts. Storage is level 2 (full) as received; no attribute is coerced.\n\n"
                "### 3.3 As requestor\n\nOne association for each delivery. The presentation contexts "
                "propose the object's own transfer "
                "syntax, then Explicit and Implicit VR Little Endian.\n",
                to);
    classes(to, "Objects that are sent");
    dicom_each_made_class(uid_row, to);
    (void)fputs("\n| Status that is answered | Meaning | What is done |\n| --- | --- | --- |\n", to);
    dicom_each_answer(answer_row, to);
    (void)fputs("\nA rejection that is transient, an abort and a failed connection are tried again; a "
                "permanent rejection is given up "
                "after the second. What was given up can be queued again: `POST "
                "/v1/deliveries/{id}/requeue`. After three failures in "
                "a row a destination is left alone for a growing time.\n",
                to);
}

static void rest_of_it(FILE *to)
{
    (void)fprintf(to,
                  "\n### 3.4 Network interfaces\n\nTCP over IPv4 and IPv6, maximum PDU length %ld.\n\n### "
                  "3.5 Configuration\n",
                  dicom_pdu_max());
    parameters(to, "dicom", NULL);
    parameters(to, "delivery", NULL);
    (void)fputs("\nDestinations and sources: see settings.md.\n\n## 4 Media\n\nNone.\n\n## 5 Character "
                "sets\n\nResults carry the "
                "Specific Character Set of their images, or ISO_IR 192 where labels need it. All character "
                "sets of PS3.3 C.12.1.1.2 are "
                "read.\n\n## 6 Security\n\nParameters of transport security:\n",
                to);
    parameters(to, NULL, "tls");
    (void)fputs("\n## 7 Annexes\n\n### 7.1 Objects that are made\n\nSegmentation (PS3.3 A.51): in the study "
                "and frame of reference of its "
                "images, positions and orientation copied from them string for string, a frame only where "
                "the segment is, coded "
                "terms of the annotation or of SNOMED CT, the algorithm with the hash of its weights; see "
                "seg.md. Report: TID 1500 "
                "(PS3.16). Structure set where a rule says so. UIDs derive from the inputs: the same inputs "
                "make the same object.\n\n"
                "### 7.2 Private attributes\n\nNone.\n",
                to);
}

bool srv_describe(const char *what, FILE *to)
{
    if (strcmp(what, "settings") == 0) {
        describe_settings(to);
        return true;
    }
    if (strcmp(what, "conformance") != 0) return false;
    overview(to);
    networking(to);
    rest_of_it(to);
    return true;
}
