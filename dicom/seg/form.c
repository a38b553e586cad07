/* Names of forms. */
#include "dicom/seg.h"

#include <stdio.h>

static const char *word(const char *const *words, int32_t n, int32_t i)
{
    return i >= 0 && i < n ? words[i] : "unknown";
}

void dicom_seg_form_name(const dicom_seg_form *form, char name[DICOM_SEG_FORM_NAME_MAX])
{
    static const char *const formats[] = {"binary", "fractional", "labelmap"};
    static const char *const profiles[] = {"", "-ohif", "-slicer", "-weasis"};
    static const char *const compressions[] = {"", "-rle", "-deflate"};
    (void)snprintf(name, DICOM_SEG_FORM_NAME_MAX, "%s%s%s%s", word(formats, 3, form->format),
                   word(profiles, 4, form->profile), word(compressions, 3, form->compression),
                   form->empty_frames ? "-empty" : "");
}
