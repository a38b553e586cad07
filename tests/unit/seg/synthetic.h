/* A series in memory, as the reader would leave it, with headers a test can spoil. */
#ifndef TESTS_UNIT_SEG_SYNTHETIC_H
#define TESTS_UNIT_SEG_SYNTHETIC_H

#include "dicom/seg/seg_impl.h"

#include <cstdio>
#include <cstring>
#include <cmath>

inline void set(DcmItem &item, const DcmTagKey &tag, const std::string &value)
{
    if (item.putAndInsertOFStringArray(tag, OFString(value.c_str())).bad()) std::abort();
}

struct synthetic {
    dicom_series series;
    std::vector<std::vector<uint8_t>> masks;
    std::vector<dicom_segment> segments;

    synthetic(int32_t rows, int32_t cols, int32_t slices)
    {
        dicom_volume_info &info = series.info;
        info.rows = rows;
        info.cols = cols;
        info.slices = slices;
        info.spacing_mm[0] = 0.7;
        info.spacing_mm[1] = 0.9;
        info.row_dir[0] = info.col_dir[1] = info.normal[2] = 1;
        info.step_mm = 2.5;
        std::snprintf(info.modality, sizeof info.modality, "CT");
        std::snprintf(info.study_uid, sizeof info.study_uid, "1.2.826.2");
        std::snprintf(info.series_uid, sizeof info.series_uid, "1.2.826.3");
        for (int32_t k = 0; k < slices; k++)
            add_slice(k);
        info.slice = series.slices.data();
    }
    DcmItem &head(int32_t k)
    {
        return *series.files[static_cast<size_t>(k)]->getDataset();
    }
    size_t pixels() const
    {
        return static_cast<size_t>(series.info.rows) * static_cast<size_t>(series.info.cols);
    }

    /* An empty mask; fill it by at(). */
    size_t add_segment(const char *label)
    {
        masks.emplace_back(pixels() * static_cast<size_t>(series.info.slices));
        dicom_segment s = {};
        std::snprintf(s.label, sizeof s.label, "%s", label);
        segments.push_back(s);
        for (size_t i = 0; i < segments.size(); i++)
            segments[i].mask = masks[i].data();
        return segments.size() - 1;
    }
    uint8_t &at(size_t segment, int32_t slice, int32_t row, int32_t col)
    {
        return masks[segment][static_cast<size_t>(slice) * pixels() +
                              static_cast<size_t>(row) * static_cast<size_t>(series.info.cols) +
                              static_cast<size_t>(col)];
    }

  private:
    void add_slice(int32_t k)
    {
        dicom_slice slice = {};
        std::snprintf(slice.sop_class_uid, sizeof slice.sop_class_uid, "%s", UID_CTImageStorage);
        std::snprintf(slice.sop_instance_uid, sizeof slice.sop_instance_uid, "1.2.826.1.%d", k + 1);
        slice.origin_mm[0] = -12.5;
        slice.origin_mm[1] = 3.25;
        slice.origin_mm[2] = slice.position_mm = 10 + 2.5 * k;
        series.slices.push_back(slice);
        series.files.push_back(std::make_unique<DcmFileFormat>());
        DcmItem &d = head(k);
        set(d, DCM_SpecificCharacterSet, "ISO_IR 100");
        set(d, DCM_SOPClassUID, slice.sop_class_uid);
        set(d, DCM_SOPInstanceUID, slice.sop_instance_uid);
        set(d, DCM_PatientName, "M\xfcller^Test ");
        set(d, DCM_PatientID, "T-1");
        set(d, DCM_StudyDate, "20200102");
        set(d, DCM_StudyTime, "101112");
        set(d, DCM_AcquisitionDate, "20200103");
        set(d, DCM_AcquisitionTime, "111213.5");
        set(d, DCM_StudyInstanceUID, "1.2.826.2");
        set(d, DCM_SeriesInstanceUID, "1.2.826.3");
        set(d, DCM_FrameOfReferenceUID, "1.2.826.4");
        char position[32];
        std::snprintf(position, sizeof position, "-12.50\\3.250\\%.3f", slice.position_mm);
        set(d, DCM_ImagePositionPatient, position);
        set(d, DCM_ImageOrientationPatient, "1.000000\\0\\0\\0\\1.000000\\0");
        set(d, DCM_PixelSpacing, "0.70\\.9");
        set(d, DCM_SliceThickness, "2.50");
    }
};

#endif
