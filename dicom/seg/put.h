/* Private to dicom/: values into a dataset, and out of one, in few words. Used by whatever writes objects. */
#ifndef DICOM_SEG_PUT_H
#define DICOM_SEG_PUT_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"

#include <string>
#include <vector>

#include "dicom/seg.h"
#include "dicom/seg/text.h"

namespace dicom
{
namespace seg
{

/* Sets values in an item and remembers the first failure, so that a module reads as a list of its attributes.
 */
class put
{
  public:
    explicit put(DcmItem &item) : item_(item) {}
    put &text(const DcmTagKey &tag, const std::string &value);
    put &us(const DcmTagKey &tag, Uint16 value);
    put &code(const DcmTagKey &sequence, const dicom_code &code, const charset &text);
    /* Copies an element byte for byte when the source has a value. */
    put &copy(const DcmTagKey &tag, DcmItem &from);
    /* The same for attributes of type 2: empty when the source has none. */
    put &copy2(const DcmTagKey &tag, DcmItem &from);
    put &element(DcmElement *made); /* takes it over */
    put &empty(const DcmTagKey &tag);
    put &note(const OFCondition &cond);
    /* A new last item of a sequence; never NULL, but only part of the object while cond() is good. */
    DcmItem &item(const DcmTagKey &sequence);
    OFCondition cond() const
    {
        return cond_;
    }

  private:
    DcmItem &item_;
    DcmItem nowhere_;
    OFCondition cond_;
};

/* The value of a text element as it stands, without padding; "" when it is absent. */
std::string text_of(DcmItem &item, const DcmTagKey &tag);
/* All numbers of a decimal string; empty when it is absent or does not parse. */
std::vector<double> numbers_of(DcmItem &item, const DcmTagKey &tag);

/* ---- what every result of a series takes over from its images, or says of itself ---- */

/* Patient, clinical trial, general study, patient study, frame of reference; Specific Character Set. */
OFCondition put_patient_and_study(DcmItem &out, DcmItem &image, const charset &text);
/* Equipment of this build and the model's hash; texts may be NULL. */
OFCondition put_equipment(DcmItem &out, const charset &text, const char *software_version,
                          const char *model_name, const char *model_version, const char *model_hash);
/* Lossy Image Compression, as the first of these slices' images says that was lossy once: PS3.3 C.7.6.1.1.5.
 */
OFCondition put_lossy(DcmItem &out, const dicom_series &series, const std::vector<int32_t> &slices);
/* The annotations behind the prompts, in Source Instance Sequence: PS3.3 C.12.4. */
OFCondition put_prompt_sources(DcmItem &out, const dicom_seg_options &options, const charset &text);
/* What a segment has in words, for choose_charset(). */
void list_texts(std::vector<std::string> &texts, const dicom_segment &segment);
/* Of a segment, the index'th of its result: the annotation's, else one derived from the key. */
std::string tracking_uid(const char *key, const dicom_segment &segment, size_t index);
/* When the images were made: the result has no other time that is the same in every run. */
void content_date_time(std::string &date, std::string &time, DcmItem &image);

/* "NAME.dcm" in `dir`: meta information and dataset in that transfer syntax, all there or not. Fsynced. */
msa_status write_dataset(const char *dir, const char *name, DcmDataset &dataset, E_TransferSyntax syntax,
                         msa_error *err);

} // namespace seg
} // namespace dicom
#endif
