#include "dicom/seg/codes.h"

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

static const dicom_code tissue = {"85756007", "SCT", "Tissue"};
static const dicom_code left = {"7771000", "SCT", "Left"};
static const dicom_code right = {"24028007", "SCT", "Right"};

/* Letters and digits in lower case, one space between words. Bytes of UTF-8 beyond ASCII stay as they are. */
static void normalise(char *out, size_t size, const char *label)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)label; *p && n + 2 < size; p++) {
        if (isalnum(*p) || *p >= 0x80)
            out[n++] = (char)(*p < 0x80 ? tolower(*p) : *p);
        else if (n > 0 && out[n - 1] != ' ')
            out[n++] = ' ';
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

static dicom_side side_of(const char *word)
{
    static const char *const words[2][3] = {{"left", "l", "lt"}, {"right", "r", "rt"}};
    for (int k = 0; k < 3; k++) {
        if (strcmp(word, words[0][k]) == 0) return DICOM_SIDE_LEFT;
        if (strcmp(word, words[1][k]) == 0) return DICOM_SIDE_RIGHT;
    }
    return DICOM_SIDE_NONE;
}

/* Takes the words for a side out, and a number at the end; returns the side. */
static dicom_side strip(char *out, const char *text)
{
    char copy[DICOM_LABEL_MAX], *rest = NULL;
    dicom_side side = DICOM_SIDE_NONE;
    size_t n = 0;
    strcpy(copy, text);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        const dicom_side s = side_of(word);
        if (s != DICOM_SIDE_NONE) {
            side = s;
        } else if (rest && *rest == '\0' && n > 0 && word[strspn(word, "0123456789")] == '\0') {
            break;
        } else {
            if (n > 0) out[n++] = ' ';
            strcpy(out + n, word);
            n += strlen(word);
        }
    }
    out[n] = '\0';
    return side;
}

const dicom_label *dicom_label_find(const char *label, dicom_side *side)
{
    char text[DICOM_LABEL_MAX], bare[DICOM_LABEL_MAX];
    normalise(text, sizeof text, label);
    const dicom_side found = strip(bare, text);
    if (side) *side = found;
    for (size_t k = 0; text[0] && k < dicom_labels_n; k++)
        for (const char *const *glob = dicom_labels[k].globs; *glob; glob++)
            if (fnmatch(*glob, text, 0) == 0 || fnmatch(*glob, bare, 0) == 0) return &dicom_labels[k];
    return NULL;
}

static const dicom_label *find_type(const dicom_code *type)
{
    for (size_t k = 0; k < dicom_labels_n; k++)
        if (strcmp(dicom_labels[k].type.value, type->value) == 0 &&
            strcmp(dicom_labels[k].type.scheme, type->scheme) == 0)
            return &dicom_labels[k];
    return NULL;
}

bool dicom_code_usable(const dicom_code *code)
{
    return code->value[0] && code->meaning[0] &&
           (strcmp(code->scheme, "SCT") == 0 || strcmp(code->scheme, "DCM") == 0);
}

void dicom_meaning_find(dicom_meaning *out, const char *label, const dicom_code *category,
                        const dicom_code *type)
{
    dicom_side side = DICOM_SIDE_NONE;
    const bool given = dicom_code_usable(type);
    memset(out, 0, sizeof *out);
    const dicom_label *entry = dicom_label_find(label, &side);
    if (given)
        entry = find_type(type);
    else if (!entry && type->meaning[0])
        entry = dicom_label_find(type->meaning, NULL);
    out->entry = entry;
    out->type = given ? *type : entry ? entry->type : tissue;
    out->category = dicom_code_usable(category) && given ? *category : entry ? entry->category : tissue;
    if (entry && entry->paired && side == DICOM_SIDE_LEFT) out->modifier = left;
    if (entry && entry->paired && side == DICOM_SIDE_RIGHT) out->modifier = right;
}
