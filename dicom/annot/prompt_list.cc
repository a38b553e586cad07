#include "dicom/annot/prompt_list.h"
#include "dicom/annot/charset.h"
#include "dicom/read/values.h"

#include <cstring>

namespace dicom
{

void PromptList::remark(const char *what)
{
    if (what != nullptr && (*note_)[0] == '\0') *note_ = what;
}

dicom_prompt PromptList::make(int32_t kind, const Subject &subject)
{
    dicom_prompt p;
    std::memset(&p, 0, sizeof p); /* padding too: add() compares bytes, and the struct travels as bytes */
    p.kind = kind;
    p.frame = 1;
    p.positive = 1;
    copy(p.label, sizeof p.label, cut_utf8(subject.label, 64, sizeof p.label));
    copy(p.tracking_id, sizeof p.tracking_id, cut_utf8(subject.tracking_id, 64, sizeof p.tracking_id));
    copy(p.tracking_uid, sizeof p.tracking_uid, subject.tracking_uid);
    p.category = subject.category;
    p.type = subject.type;
    p.site = subject.site;
    return p;
}

/* Area, mean and length of one region each bring a copy of it: the second is no news. */
msa_status PromptList::add(const dicom_prompt &p)
{
    const bool too_many = ++tried_ > 16 * PROMPTS_MAX; /* copies cost time */
    for (const dicom_prompt &q : out_)
        if (!too_many && std::memcmp(&p, &q, sizeof p) == 0) return MSA_OK;
    if (too_many || out_.size() == PROMPTS_MAX)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "the annotation holds more than %zu regions", PROMPTS_MAX);
    out_.push_back(p);
    return MSA_OK;
}

static void lay(dicom_prompt &p, const ImageReference &image)
{
    p.frame = image.frame;
    copy(p.sop_instance_uid, sizeof p.sop_instance_uid, image.sop_instance_uid);
}

static void lay(dicom_prompt &p, const SpaceReference &place)
{
    p.space = DICOM_SPACE_PATIENT;
    copy(p.series_uid, sizeof p.series_uid, place.series_uid);
    copy(p.frame_of_reference_uid, sizeof p.frame_of_reference_uid, place.frame_of_reference_uid);
}

msa_status PromptList::add_box(const Shape &s, const Subject &subject, const ImageReference &image)
{
    dicom_prompt p = make(DICOM_PROMPT_BOX, subject);
    lay(p, image);
    p.x0 = s.x0;
    p.y0 = s.y0;
    p.x1 = s.x1;
    p.y1 = s.y1;
    return add(p);
}

msa_status PromptList::add_shape(const Shape &shape, const Subject &subject, const ImageReference &image,
                                 bool axis)
{
    switch (shape.kind) {
    case Shape::NOTHING:
        remark(shape.note);
        return MSA_OK;
    case Shape::BOX:
        return add_box(shape, subject, image);
    case Shape::LINE:
        if (lines_.size() < PROMPTS_MAX) lines_.push_back({shape, subject, image, axis, false});
        return MSA_OK;
    case Shape::POINTS:
        break;
    }
    for (const Point &point : shape.points) {
        dicom_prompt p = make(DICOM_PROMPT_POINT, subject);
        lay(p, image);
        p.x0 = p.x1 = point.x;
        p.y0 = p.y1 = point.y;
        MSA_TRY(add(p));
    }
    return MSA_OK;
}

msa_status PromptList::add_point_mm(const double mm[3], const Subject &subject, const SpaceReference &place)
{
    dicom_prompt p = make(DICOM_PROMPT_POINT, subject);
    lay(p, place);
    p.x0 = p.x1 = mm[0];
    p.y0 = p.y1 = mm[1];
    p.z0 = p.z1 = mm[2];
    return add(p);
}

msa_status PromptList::add_region(int32_t region, const Subject &subject, const SpaceReference &place)
{
    dicom_prompt p = make(DICOM_PROMPT_REGION, subject);
    lay(p, place);
    p.region = region;
    return add(p);
}

msa_status PromptList::add_key_image(const ImageReference &image, const Subject &subject)
{
    dicom_prompt p = make(DICOM_PROMPT_KEY_IMAGE, subject);
    lay(p, image);
    return add(p);
}

/* Two crossing diameters of one group on one image are the long and the short axis of a lesion. */
msa_status PromptList::finish()
{
    for (size_t i = 0; i < lines_.size(); i++) {
        Line &a = lines_[i];
        for (size_t j = i + 1; j < lines_.size() && !a.used; j++) {
            Line &b = lines_[j];
            const bool together = !b.used && a.subject.number == b.subject.number &&
                                  a.image.sop_instance_uid == b.image.sop_instance_uid &&
                                  a.image.frame == b.image.frame;
            if (!together || !((a.axis && b.axis) || lines_cross(a.shape, b.shape))) continue;
            const Shape box = box_over(a.shape, b.shape);
            if (box.kind != Shape::BOX) continue;
            a.used = b.used = true;
            MSA_TRY(add_box(box, a.subject, a.image));
        }
        if (!a.used) remark("a single line is a length, not a region; it was left out");
    }
    return MSA_OK;
}

} // namespace dicom
