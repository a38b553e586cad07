/* Private to dicom/: what objects that go beside a segmentation have in common: a report, contours, pictures.
 * Each is a series of its own in the study of the images. */
#ifndef DICOM_SEG_BESIDE_H
#define DICOM_SEG_BESIDE_H

#include <string>

#include "dicom/read/series_impl.h"
#include "dicom/seg/put.h"

namespace dicom
{
namespace seg
{

struct beside {
    const dicom_series &series;
    const dicom_seg_options &options;
    const char *kind; /* "report": part of its UIDs */
    charset text;

    std::string uid(const std::string &role) const;
    DcmItem &head() const
    {
        return *series.files[0]->getDataset();
    }
};

/* The charset that holds the options' words and `more`. */
charset charset_beside(const dicom_series &series, const dicom_seg_options &options,
                       std::vector<std::string> more);

/* MSA_E_UNSUPPORTED where the images have no Frame of Reference or Study Instance UID. so: what then cannot
 * be, "contours have no place". */
msa_status check_place(const dicom_series &series, const char *so, msa_error *err);

/* Modality, UID, number and description of the series; `description` where the options have none. */
OFCondition put_series_beside(DcmItem &out, const beside &from, const char *modality,
                              const char *description);

/* SOP class and instance, in an item of `sequence`. */
void put_reference(put &to, const DcmTagKey &sequence, const char *class_uid, const char *instance_uid);
/* The images of slices first .. last, each once however many of its frames are slices. */
void put_images(put &to, const DcmTagKey &sequence, const dicom_series &series, int32_t first, int32_t last);

/* "NAME.dcm" of that class, the instance with the UID of `role`. */
void describe_file(dicom_seg_file &out, const beside &from, const std::string &name, const char *class_uid,
                   const std::string &role);

} // namespace seg
} // namespace dicom
#endif
