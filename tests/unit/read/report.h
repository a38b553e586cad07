/* Builds annotation objects item by item, as loosely as writers do it, and reads their prompts. */
#ifndef TESTS_UNIT_READ_REPORT_H
#define TESTS_UNIT_READ_REPORT_H

#include "dicom/annotation.h"
#include "tests/unit/read/support.h"

#include "dcmtk/dcmdata/dctk.h"

#include <cmath>

struct Result {
    msa_status status = MSA_OK;
    std::vector<dicom_prompt> prompts;
    std::string note, what;
};

inline Result read_prompts(const std::string &path)
{
    Result r;
    dicom_prompt *prompts = nullptr;
    size_t n = 0;
    const char *note = nullptr;
    msa_error err = MSA_ERROR_INIT;
    r.status = dicom_annotation_read(&prompts, &n, &note, path.c_str(), &err);
    if (n > 0) r.prompts.assign(prompts, prompts + n);
    free(prompts);
    r.note = note;
    r.what = err.what;
    return r;
}

inline void assert_box(const dicom_prompt &p, double x0, double y0, double x1, double y1)
{
    const double worst =
        std::max({std::fabs(p.x0 - x0), std::fabs(p.y0 - y0), std::fabs(p.x1 - x1), std::fabs(p.y1 - y1)});
    if (p.kind != DICOM_PROMPT_BOX || worst > 1e-4)
        fail_msg("wanted %g,%g,%g,%g, got kind %d %g,%g,%g,%g", x0, y0, x1, y1, p.kind, p.x0, p.y0, p.x1,
                 p.y1);
}

/* A report, or the skeleton of another annotation. */
class Report
{
  public:
    explicit Report(const char *sop_class = UID_ComprehensiveSRStorage)
    {
        DcmItem &d = root();
        set(d, DCM_SOPClassUID, sop_class);
        set(d, DCM_SOPInstanceUID, "1.2.9.1");
        set(d, DCM_StudyInstanceUID, "1.2.9.2");
        set(d, DCM_SeriesInstanceUID, "1.2.9.3");
        set(d, DCM_ValueType, "CONTAINER");
    }
    DcmItem &root()
    {
        return *file_.getDataset();
    }
    static void set(DcmItem &d, const DcmTagKey &tag, const char *value)
    {
        assert_true(d.putAndInsertString(tag, value).good());
    }
    static DcmItem &append(DcmItem &d, const DcmTagKey &sequence)
    {
        DcmItem *item = nullptr;
        assert_true(d.findOrCreateSequenceItem(sequence, item, -2).good());
        return *item;
    }
    static DcmItem &child(DcmItem &parent, const char *type) /* no relationship type, no concept name */
    {
        DcmItem &item = append(parent, DCM_ContentSequence);
        set(item, DCM_ValueType, type);
        return item;
    }
    static void name(DcmItem &d, const char *value, const char *scheme,
                     const DcmTagKey &seq = DCM_ConceptNameCodeSequence, const char *meaning = "m")
    {
        DcmItem &code = append(d, seq);
        set(code, DCM_CodeValue, value);
        set(code, DCM_CodingSchemeDesignator, scheme);
        set(code, DCM_CodeMeaning, meaning);
    }
    static DcmItem &shape(DcmItem &parent, const char *type, const std::vector<Float32> &data)
    {
        DcmItem &item = child(parent, "SCOORD");
        set(item, DCM_GraphicType, type);
        assert_true(
            item.putAndInsertFloat32Array(DCM_GraphicData, data.data(), (unsigned long)data.size()).good());
        return item;
    }
    static DcmItem &image(DcmItem &parent, const char *uid = "1.2.3", const char *frame = nullptr)
    {
        DcmItem &item = child(parent, "IMAGE"), &sop = append(item, DCM_ReferencedSOPSequence);
        set(sop, DCM_ReferencedSOPClassUID, UID_CTImageStorage);
        set(sop, DCM_ReferencedSOPInstanceUID, uid);
        if (frame != nullptr) set(sop, DCM_ReferencedFrameNumber, frame);
        return item;
    }
    DcmItem &group(const char *tracking_id, const char *finding_meaning)
    {
        DcmItem &g = child(root(), "CONTAINER");
        if (tracking_id != nullptr) {
            DcmItem &t = child(g, "TEXT");
            name(t, "112039", "DCM");
            set(t, DCM_TextValue, tracking_id);
        }
        if (finding_meaning != nullptr) {
            DcmItem &f = child(g, "CODE");
            name(f, "121071", "DCM");
            name(f, "F-1", "99X", DCM_ConceptCodeSequence, finding_meaning);
        }
        return g;
    }
    std::string save()
    {
        const std::string path = dir_ / "object.dcm";
        assert_true(file_.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
        return path;
    }
    Result read()
    {
        return read_prompts(save());
    }

  private:
    TempDir dir_;
    DcmFileFormat file_;
};

#endif
