/* Forms in words. */
#include "dicom/seg.h"

#include <stdio.h>
#include <string.h>

static const char *const formats[] = {"binary", "fractional", "labelmap", NULL};
static const char *const profiles[] = {"strict", "ohif", "slicer", "weasis", NULL};
static const char *const compressions[] = {"none", "rle", "deflate", NULL};

/* "-WORD", or nothing for the first. */
static const char *suffix(char out[16], const char *const *words, int32_t n, int32_t i)
{
    (void)snprintf(out, 16, "-%s", i >= 0 && i < n ? words[i] : "unknown");
    return i == 0 ? "" : out;
}

void dicom_seg_form_name(const dicom_seg_form *form, char name[DICOM_SEG_FORM_NAME_MAX])
{
    char profile[16], compression[16];
    const char *format = form->format >= 0 && form->format < 3 ? formats[form->format] : "unknown";
    (void)snprintf(
        name, DICOM_SEG_FORM_NAME_MAX, "%s%s%s%s", format, suffix(profile, profiles, 4, form->profile),
        suffix(compression, compressions, 3, form->compression), form->empty_frames ? "-empty" : "");
}

static bool find(int32_t *out, const char *const *words, const char *word)
{
    for (*out = 0; words[*out]; ++*out)
        if (strcmp(words[*out], word) == 0) return true;
    *out = 0;
    return word[0] == '\0';
}

bool dicom_seg_form_parse(dicom_seg_form *out, const char *format, const char *profile,
                          const char *compression, bool empty_frames)
{
    out->empty_frames = empty_frames;
    return find(&out->format, formats, format) && find(&out->profile, profiles, profile) &&
           find(&out->compression, compressions, compression) &&
           !(out->format == DICOM_SEG_BINARY && out->compression == DICOM_SEG_RLE);
}
