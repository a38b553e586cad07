/* Private: where every reader of annotations puts what it found. */
#ifndef DICOM_ANNOT_PROMPT_LIST_H
#define DICOM_ANNOT_PROMPT_LIST_H

#include <string>
#include <vector>

#include "dicom/annot/shape.h"
#include "dicom/annotation.h"

namespace dicom
{

constexpr size_t PROMPTS_MAX = 4096;

/* What an annotation says about what it draws. Text is UTF-8, of any length. */
struct Subject {
    int number = 0; /* tells the groups of one object apart; shapes of one group belong together */
    std::string label, tracking_id, tracking_uid;
    dicom_code category{}, type{}, site{};
};

struct ImageReference {
    std::string sop_instance_uid; /* "" when there is none, or an invalid UID */
    int32_t frame = 1;
};

/* The place of what is not on an image. */
struct SpaceReference {
    std::string series_uid, frame_of_reference_uid; /* the first that is not "" counts */
};

class PromptList
{
  public:
    /* `note`: of dicom_annotation_read(); the first remark stays. */
    PromptList(std::vector<dicom_prompt> &out, const char **note, msa_error *err)
        : out_(out), note_(note), err_(err)
    {
    }
    void remark(const char *what);
    bool empty() const
    {
        return out_.empty();
    }
    /* A box, points, or a line that waits for the one that crosses it; NOTHING leaves its note. `axis`: coded
     * as long or short axis. */
    msa_status add_shape(const Shape &shape, const Subject &subject, const ImageReference &image, bool axis);
    msa_status add_point_mm(const double mm[3], const Subject &subject, const SpaceReference &place);
    msa_status add_region(int32_t region, const Subject &subject, const SpaceReference &place);
    msa_status add_key_image(const ImageReference &image, const Subject &subject);
    /* Crossing lines become boxes. Call once, at the end. */
    msa_status finish();

  private:
    struct Line {
        Shape shape;
        Subject subject;
        ImageReference image;
        bool axis, used;
    };
    static dicom_prompt make(int32_t kind, const Subject &subject);
    msa_status add(const dicom_prompt &p);
    msa_status add_box(const Shape &s, const Subject &subject, const ImageReference &image);

    std::vector<dicom_prompt> &out_;
    const char **note_;
    msa_error *err_;
    std::vector<Line> lines_;
    size_t tried_ = 0;
};

} // namespace dicom
#endif
