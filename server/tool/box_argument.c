#include "server/tool/arguments.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A plain decimal number and the character behind it; strtod alone would also take "0x1p3", "inf" and blanks.
 */
static bool read_number(const char **s, double *out, char behind)
{
    char *end = NULL;
    const size_t length = strspn(*s, "+-.0123456789eE");
    if (length == 0 || isspace((unsigned char)**s)) return false;
    errno = 0;
    *out = strtod(*s, &end);
    if (end != *s + length || errno == ERANGE || !isfinite(*out) || *end != behind) return false;
    *s = end + 1;
    return true;
}

static bool read_slice(const char **s, int32_t *out)
{
    char *end = NULL;
    if (!isdigit((unsigned char)**s)) return false;
    errno = 0;
    const long value = strtol(*s, &end, 10);
    if (errno == ERANGE || value > INT32_MAX || (*end != '\0' && *end != '=')) return false;
    *out = (int32_t)value;
    *s = *end ? end + 1 : end;
    return true;
}

msa_status srv_box_parse(dicom_prompt *out, const char *text, msa_error *err)
{
    const char *s = text;
    memset(out, 0, sizeof *out);
    out->kind = DICOM_PROMPT_BOX;
    out->frame = 1;
    if (!read_number(&s, &out->x0, ',') || !read_number(&s, &out->y0, ',') ||
        !read_number(&s, &out->x1, ',') || !read_number(&s, &out->y1, '@') || !read_slice(&s, &out->slice))
        return msa_fail(err, MSA_E_INVALID,
                        "the box \"%.60s\" is not x0,y0,x1,y1@SLICE or x0,y0,x1,y1@SLICE=LABEL, as in "
                        "40,52,81,90@12=liver",
                        text);
    if (!(out->x0 < out->x1 && out->y0 < out->y1))
        return msa_fail(err, MSA_E_INVALID, "the box \"%.60s\" is empty: it needs x0 < x1 and y0 < y1", text);
    if (strlen(s) > 64)
        return msa_fail(err, MSA_E_INVALID, "the label of the box \"%.60s...\" is longer than 64 bytes",
                        text);
    for (const char *p = s; *p; p++)
        if (iscntrl((unsigned char)*p) || *p == '\\')
            return msa_fail(err, MSA_E_INVALID,
                            "the label of a box holds a control character or a backslash");
    (void)snprintf(out->label, sizeof out->label, "%s", s);
    return MSA_OK;
}
