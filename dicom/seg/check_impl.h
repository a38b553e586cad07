/* Private: the parts of the checker. Each looks at one side of the object and reports what it finds. */
#ifndef DICOM_SEG_CHECK_IMPL_H
#define DICOM_SEG_CHECK_IMPL_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "dicom/guard.h"
#include "dicom/seg/put.h"
#include "dicom/seg_check.h"

namespace dicom
{
namespace seg
{

/* Where pixels lie; there is false where an image or a frame does not say it. */
struct image_plane {
    bool there = false;
    std::vector<double> origin, direction, spacing; /* 3, 6, 2 */
};

/* What an image says that its segmentation must say as well. */
struct image {
    std::string sop_class, series, study, frame_of_reference, patient_id, patient_name;
    int rows = 0, cols = 0;
    std::vector<image_plane> frames; /* one of a single-frame image */
};

struct image_folder {
    std::map<std::string, image> images; /* by SOP Instance UID */
    bool given = false;
};

/* Sentences in the order in which they came up; of frames with the same defect only the first is named. */
class findings
{
  public:
    void say(const std::string &sentence);
    void frame(size_t frame, const std::string &what); /* frame from 0 */
    size_t tell(dicom_defect_fn *defect, void *ctx) const;

  private:
    struct finding {
        std::string what;
        size_t frame, more; /* frame 0: of the object, else from 1 */
    };
    std::vector<finding> all_;
    std::map<std::string, size_t> known_;
};

/* The object under test, and what the parts learn of it. */
struct subject {
    DcmItem &dataset;
    std::string syntax_uid;
    const image_folder &folder;
    findings &found;
    bool labelmap;
    std::string type;
    int rows = 0, cols = 0, bits = 0;
    size_t frames = 0;                  /* Number of Frames */
    std::vector<DcmItem *> groups = {}; /* per-frame items */
    std::set<unsigned> segments = {};   /* their numbers */
    std::set<std::string> named = {};   /* images that frames name */
};

/* The k-th item of a sequence, or NULL. */
DcmItem *item_of(DcmItem *item, const DcmTagKey &sequence, unsigned long k = 0);
size_t items_of(DcmItem &item, const DcmTagKey &sequence);
/* Whether a code sequence has one item with value, scheme and meaning. */
bool coded(DcmItem &item, const DcmTagKey &sequence);

/* Images below a folder; other objects are passed over. */
msa_status read_images(image_folder &out, const char *dir, msa_error *err);
image_plane plane_of_frame(DcmItem &dataset, DcmItem *groups);

void check_modules(subject &s);
void check_segments(subject &s);
void check_dimensions(subject &s);
void check_frames(subject &s);     /* planes, segments, source images */
void check_references(subject &s); /* of the whole object, and what it shares with its images */
void check_pixels(subject &s);

} // namespace seg
} // namespace dicom
#endif
