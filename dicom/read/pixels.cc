#include "dicom/read/pixels.h"

#include "dicom/guard.h"
#include "dicom/read/source.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

namespace dicom
{
namespace
{

struct Padding { /* in stored values, both ends included */
    bool present = false;
    int32_t from = 0, to = 0;
};

int32_t as_stored(uint16_t bits, const PixelForm &form)
{
    return form.is_signed ? int16_t(bits) : int32_t(bits);
}

Padding read_padding(DcmItem &d, const PixelForm &form)
{
    uint16_t from = 0, to = 0;
    Padding p;
    if (find_u16(d, DCM_PixelPaddingValue, from) != FIND_OK) return p;
    p.present = true;
    p.from = p.to = as_stored(from, form);
    if (find_u16(d, DCM_PixelPaddingRangeLimit, to) == FIND_OK) p.to = as_stored(to, form);
    if (p.from > p.to) std::swap(p.from, p.to);
    return p;
}

int64_t least_plus_greatest(const PixelForm &form)
{
    return form.is_signed ? -1 : (int64_t{1} << form.stored) - 1;
}

/* `bytes` are little endian samples of form.allocated bits. */
void convert(float *to, const uint8_t *bytes, size_t n, const PixelForm &form, const Padding &padding,
             const Rescale &rescale)
{
    const unsigned shift = unsigned(form.high_bit + 1 - form.stored);
    const uint32_t mask = (1u << form.stored) - 1, sign = form.is_signed ? 1u << (form.stored - 1) : 0;
    const int64_t mirror = least_plus_greatest(form);
    for (size_t i = 0; i < n; i++) {
        const uint32_t raw =
            form.allocated == 8 ? bytes[i] : uint32_t(bytes[2 * i]) | uint32_t(bytes[2 * i + 1]) << 8;
        const uint32_t bits = (raw >> shift) & mask;
        int64_t value = int64_t(bits ^ sign) - int64_t(sign); /* sign extension */
        /* The padding value may lie outside the bits stored, so the whole sample is compared as well. */
        const int64_t whole = form.allocated == 8 ? value : as_stored(uint16_t(raw), form);
        if (padding.present && ((value >= padding.from && value <= padding.to) ||
                                (whole >= padding.from && whole <= padding.to))) {
            to[i] = std::numeric_limits<float>::quiet_NaN();
            continue;
        }
        if (form.inverted) value = mirror - value;
        to[i] = float(rescale.slope * double(value) + rescale.intercept);
    }
}

msa_status read_native(std::vector<uint8_t> &bytes, const File &f, const char *path, msa_error *err)
{
    const std::unique_ptr<Source> in = open_file_source(path);
    const size_t n = size_t(std::min<uint64_t>(bytes.size(), f.scan.pixel_length));
    if (!in || !in->skip(f.scan.pixel_offset) || in->read(bytes.data(), n) != n)
        return msa_fail(err, MSA_E_IO, "cannot read the pixel data: the file changed");
    const bool swap = DcmXfer(f.scan.xfer).isBigEndian() && (f.scan.pixel_words || f.form.allocated == 16);
    if (swap)
        for (size_t i = 0; i + 1 < bytes.size(); i += 2)
            std::swap(bytes[i], bytes[i + 1]);
    return MSA_OK;
}

/* Compressed or deflated: DCMTK's codecs, on a file that the pre-scan passed and whose sizes are plausible.
 */
msa_status decode(std::vector<uint8_t> &bytes, size_t n, const File &f, const char *path, msa_error *err)
{
    std::unique_ptr<DcmFileFormat> file;
    MSA_TRY(parse_dataset(file, f.scan, path, true, err));
    DcmDataset &d = *file->getDataset();
    const OFCondition cond = d.chooseRepresentation(EXS_LittleEndianExplicit, nullptr);
    if (cond.bad()) return fail(err, cond, "decompress the pixel data");
    uint16_t rows = 0, cols = 0, samples = 1, allocated = 0;
    if (find_u16(d, DCM_Rows, rows) != FIND_OK || find_u16(d, DCM_Columns, cols) != FIND_OK ||
        rows != f.header.rows || cols != f.header.cols ||
        find_u16(d, DCM_SamplesPerPixel, samples) == FIND_BAD || samples != 1 ||
        find_u16(d, DCM_BitsAllocated, allocated) != FIND_OK || allocated != f.form.allocated)
        return msa_fail(err, MSA_E_PARSE, "the compressed image is not of the size or depth its header says");
    const Uint8 *octets = nullptr;
    const Uint16 *words = nullptr;
    unsigned long count = 0;
    /* DCMTK keeps 16-bit words in host order, which is little endian (asserted below), and 8-bit ones packed
     * in them. */
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "pixel words are copied as bytes");
    if (d.findAndGetUint16Array(DCM_PixelData, words, &count).good() && words != nullptr) {
        if (count * 2 < n) return msa_fail(err, MSA_E_PARSE, "the decompressed image is too short");
        std::memcpy(bytes.data(), words, n);
        return MSA_OK;
    }
    if (d.findAndGetUint8Array(DCM_PixelData, octets, &count).good() && octets != nullptr) {
        if (count < n) return msa_fail(err, MSA_E_PARSE, "the decompressed image is too short");
        std::memcpy(bytes.data(), octets, n);
        return MSA_OK;
    }
    return msa_fail(err, MSA_E_PARSE, "the pixel data cannot be decompressed");
}

} // namespace

msa_status read_rescale(Rescale &out, DcmItem &d, msa_error *err)
{
    out = Rescale{};
    if (find_number(d, DCM_RescaleSlope, out.slope) == FIND_BAD ||
        find_number(d, DCM_RescaleIntercept, out.intercept) == FIND_BAD)
        return msa_fail(err, MSA_E_PARSE, "Rescale Slope or Rescale Intercept is not a number");
    if (out.slope == 0) return msa_fail(err, MSA_E_PARSE, "Rescale Slope is 0");
    if (std::fabs(out.slope) > 1e30 || std::fabs(out.intercept) > 1e30)
        return msa_fail(err, MSA_E_PARSE, "Rescale Slope or Rescale Intercept is too large");
    return MSA_OK;
}

double inverted_window_center(double center, const PixelForm &form, const Rescale &rescale)
{
    return rescale.slope * double(least_plus_greatest(form)) + 2 * rescale.intercept - center;
}

msa_status read_pixels(float *to, const File &f, const char *path, const Rescale &rescale, msa_error *err)
{
    const size_t n = size_t(f.header.rows) * size_t(f.header.cols);
    const size_t size = n * (f.form.allocated / 8u); /* header.cc compared this with the element's length */
    std::vector<uint8_t> bytes(size + (size & 1));   /* even: big endian words are swapped in pairs */
    if (f.scan.encapsulated || f.scan.deflated)
        MSA_TRY(decode(bytes, size, f, path, err));
    else
        MSA_TRY(read_native(bytes, f, path, err));
    convert(to, bytes.data(), n, f.form, read_padding(*f.content->getDataset(), f.form), rescale);
    return MSA_OK;
}

} // namespace dicom
