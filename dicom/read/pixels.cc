#include "dicom/read/pixels.h"

#include "dicom/read/items.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcelem.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

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

/* LUT Descriptor (PS3.3 C.11.1.1.1): entries (0 means 65536), first value, bits. US or SS, as the pixels are.
 */
bool read_descriptor(DcmItem &lut, const PixelForm &form, int64_t &entries, int64_t &first, int &bits)
{
    DcmElement *e = nullptr;
    if (lut.findAndGetElement(DCM_LUTDescriptor, e).bad() || e == nullptr || e->getVM() != 3) return false;
    uint16_t value[3] = {0};
    for (unsigned long i = 0; i < 3; i++) {
        Uint16 u = 0;
        Sint16 s = 0;
        if (e->getUint16(u, i).good())
            value[i] = u;
        else if (e->getSint16(s, i).good())
            value[i] = uint16_t(s);
        else
            return false;
    }
    entries = value[0] == 0 ? 65536 : value[0];
    first = as_stored(value[1], form);
    bits = value[2];
    return bits >= 1 && bits <= 16;
}

msa_status read_table(Rescale &out, DcmItem &lut, const PixelForm &form, msa_error *err)
{
    int64_t entries = 0;
    int bits = 0;
    const Uint16 *words = nullptr;
    unsigned long count = 0;
    if (!read_descriptor(lut, form, entries, out.first, bits) ||
        lut.findAndGetUint16Array(DCM_LUTData, words, &count).bad() || words == nullptr)
        return msa_fail(err, MSA_E_PARSE, "its Modality LUT is not described as the standard asks");
    const bool packed = bits <= 8 && int64_t(count) == (entries + 1) / 2; /* two entries in a word */
    if (!packed && int64_t(count) < entries)
        return msa_fail(err, MSA_E_PARSE, "its Modality LUT has %lu entries where %lld are announced", count,
                        (long long)entries);
    for (int64_t i = 0; i < entries; i++)
        out.table.push_back(float(packed ? words[i / 2] >> (8 * (i % 2)) & 0xff : words[i]));
    return MSA_OK;
}

double modality_value(const Rescale &r, double stored)
{
    if (r.table.empty()) return r.slope * stored + r.intercept;
    const double last = double(r.table.size() - 1);
    return double(r.table[size_t(std::min(std::max(stored - double(r.first), 0.0), last))]);
}

} // namespace

msa_status read_rescale(Rescale &out, DcmItem &d, const PixelForm &form, msa_error *err)
{
    out = Rescale{};
    if (DcmItem *lut = first_of(&d, DCM_ModalityLUTSequence)) return read_table(out, *lut, form, err);
    if (find_number(d, DCM_RescaleSlope, out.slope) == FIND_BAD ||
        find_number(d, DCM_RescaleIntercept, out.intercept) == FIND_BAD)
        return msa_fail(err, MSA_E_PARSE, "Rescale Slope or Rescale Intercept is not a number");
    if (out.slope == 0) return msa_fail(err, MSA_E_PARSE, "Rescale Slope is 0");
    if (std::fabs(out.slope) > 1e30 || std::fabs(out.intercept) > 1e30)
        return msa_fail(err, MSA_E_PARSE, "Rescale Slope or Rescale Intercept is too large");
    return MSA_OK;
}

void read_window(double &center, double &width, DcmItem &d, const PixelForm &form, const Rescale &rescale)
{
    double c = 0, w = 0;
    center = width = 0;
    if (find_number(d, DCM_WindowCenter, c) != FIND_OK || find_number(d, DCM_WindowWidth, w) != FIND_OK ||
        w <= 0) {
        /* A VOI LUT takes modality values: those from its first entry to its last are what it shows. */
        int64_t entries = 0, first = 0;
        int bits = 0;
        PixelForm of_values = form;
        of_values.is_signed = form.is_signed || rescale.intercept < 0;
        DcmItem *lut = first_of(&d, DCM_VOILUTSequence);
        if (lut == nullptr || !read_descriptor(*lut, of_values, entries, first, bits)) return;
        c = double(first) + double(entries) / 2;
        w = double(entries);
    }
    width = w;
    center = c;
    /* The mirror image of the window: what the values that it began and ended with have become. */
    if (form.inverted)
        center = modality_value(rescale, double(least_plus_greatest(form))) + modality_value(rescale, 0) - c;
}

void read_pixels(float *to, const std::vector<uint8_t> &bytes, DcmItem &header, const PixelForm &form,
                 const Rescale &rescale)
{
    const Padding padding = read_padding(header, form);
    const unsigned shift = unsigned(form.high_bit + 1 - form.stored);
    const uint32_t mask = (1u << form.stored) - 1, sign = form.is_signed ? 1u << (form.stored - 1) : 0;
    const int64_t mirror = least_plus_greatest(form);
    const size_t n = bytes.size() / (form.allocated / 8u);
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
        to[i] = float(modality_value(rescale, double(value)));
    }
}

} // namespace dicom
