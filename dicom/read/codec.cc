#include "dicom/read/codec.h"

#include "dicom/guard.h"
#include "dicom/read/jpeg2000.h"
#include "dicom/read/syntax.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdatset.h"
#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcpixel.h"
#include "dcmtk/dcmdata/dcpixseq.h"
#include "dcmtk/dcmdata/dcpxitem.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace dicom
{
namespace
{

/* A dataset of our own with this one frame: no codec sees what else the file holds, nor the other frames. */
OFCondition put_frame(DcmDataset &d, const std::vector<uint8_t> &stream, const File &f)
{
    const std::pair<DcmTagKey, unsigned> form[] = {{DCM_SamplesPerPixel, 1},
                                                   {DCM_Rows, unsigned(f.header.rows)},
                                                   {DCM_Columns, unsigned(f.header.cols)},
                                                   {DCM_BitsAllocated, f.form.allocated},
                                                   {DCM_BitsStored, f.form.stored},
                                                   {DCM_HighBit, f.form.high_bit},
                                                   {DCM_PixelRepresentation, f.form.is_signed ? 1 : 0}};
    OFCondition cond = d.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME2");
    for (const auto &[tag, value] : form)
        if (cond.good()) cond = d.putAndInsertUint16(tag, Uint16(value));
    if (cond.bad()) return cond;
    std::vector<uint8_t> even = stream;
    even.resize(even.size() + even.size() % 2);
    auto sequence = std::make_unique<DcmPixelSequence>(DcmTag(DCM_PixelData, EVR_OB));
    auto fragment = std::make_unique<DcmPixelItem>(DcmTag(DCM_PixelItemTag, EVR_OB));
    cond = fragment->putUint8Array(even.data(), static_cast<unsigned long>(even.size()));
    if (cond.good()) cond = sequence->insert(new DcmPixelItem(DcmTag(DCM_PixelItemTag, EVR_OB)));
    if (cond.good()) cond = sequence->insert(fragment.release());
    if (cond.bad()) return cond;
    auto pixels = std::make_unique<DcmPixelData>(DCM_PixelData);
    pixels->putOriginalRepresentation(f.scan.xfer, nullptr, sequence.release());
    cond = d.insert(pixels.get(), OFTrue);
    if (cond.good()) (void)pixels.release();
    return cond;
}

/* What a segment gives: runs of one byte repeated, and of bytes as they are. */
uint64_t unpacked_size(const std::vector<uint8_t> &s, size_t at, size_t end)
{
    uint64_t size = 0;
    while (at + 1 < end) {
        const uint8_t control = s[at];
        const size_t literal = control + 1u;
        if (control < 128) size += std::min(literal, end - at - 1);
        if (control > 128) size += 257u - control;
        at += control < 128 ? 1 + literal : control > 128 ? 2 : 1;
    }
    return size;
}

/* RLE (PS3.5 annex G): a header of 16 numbers, then one segment for each byte of a sample. DCMTK 3.6.7 reads
 * behind segments that it should not (upstream f93cf77f1), and fills up what is missing with zeros, so they
 * are looked at here. */
msa_status check_rle(const std::vector<uint8_t> &s, const File &f, msa_error *err)
{
    const auto number = [&](size_t i) {
        return uint32_t(s[4 * i]) | uint32_t(s[4 * i + 1]) << 8 | uint32_t(s[4 * i + 2]) << 16 |
               uint32_t(s[4 * i + 3]) << 24;
    };
    if (s.size() < 64 || number(0) != f.form.allocated / 8u)
        return msa_fail(err, MSA_E_PARSE, "the RLE header does not fit an image of %u bits",
                        f.form.allocated);
    for (size_t i = 1; i <= number(0); i++) {
        const size_t end = i < number(0) ? number(i + 1) : s.size();
        if (number(i) < 64 || number(i) >= s.size() || end > s.size() || end <= number(i))
            return msa_fail(err, MSA_E_PARSE, "a segment of the RLE pixel data lies outside it");
        if (unpacked_size(s, number(i), end) < uint64_t(f.header.rows) * uint64_t(f.header.cols))
            return msa_fail(err, MSA_E_PARSE, "the RLE pixel data ends before its image does");
    }
    return MSA_OK;
}

msa_status decode_dcmtk(std::vector<uint8_t> &bytes, const File &f, msa_error *err)
{
    if (f.scan.xfer == EXS_RLELossless) MSA_TRY(check_rle(bytes, f, err));
    DcmDataset d;
    OFCondition cond = put_frame(d, bytes, f);
    if (cond.good()) cond = d.chooseRepresentation(EXS_LittleEndianExplicit, nullptr);
    if (cond.bad()) return fail(err, cond, "decompress the pixel data");
    uint16_t rows = 0, cols = 0, samples = 1, allocated = 0;
    if (find_u16(d, DCM_Rows, rows) != FIND_OK || find_u16(d, DCM_Columns, cols) != FIND_OK ||
        rows != f.header.rows || cols != f.header.cols ||
        find_u16(d, DCM_SamplesPerPixel, samples) == FIND_BAD || samples != 1 ||
        find_u16(d, DCM_BitsAllocated, allocated) != FIND_OK || allocated != f.form.allocated)
        return msa_fail(err, MSA_E_PARSE, "the compressed image is not of the size or depth its header says");
    const size_t n = size_t(frame_size(f));
    const Uint8 *octets = nullptr;
    const Uint16 *words = nullptr;
    unsigned long count = 0;
    /* DCMTK keeps 16-bit words in host order, which is little endian (asserted below), and 8-bit ones packed
     * in them. */
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "pixel words are copied as bytes");
    if (d.findAndGetUint16Array(DCM_PixelData, words, &count).good() && words != nullptr) {
        if (count * 2 < n) return msa_fail(err, MSA_E_PARSE, "the decompressed image is too short");
        bytes.resize(n);
        std::memcpy(bytes.data(), words, n);
        return MSA_OK;
    }
    if (d.findAndGetUint8Array(DCM_PixelData, octets, &count).good() && octets != nullptr) {
        if (count < n) return msa_fail(err, MSA_E_PARSE, "the decompressed image is too short");
        bytes.assign(octets, octets + n);
        return MSA_OK;
    }
    return msa_fail(err, MSA_E_PARSE, "the pixel data cannot be decompressed");
}

/* A codestream of fewer bits than are stored: its own highest bit is the sign that the header speaks of. */
uint32_t as_header_means(int32_t value, const CodestreamForm &stream, const PixelForm &form)
{
    uint32_t bits = uint32_t(value);
    if (form.is_signed && !stream.is_signed && stream.bits < 32) {
        const uint32_t sign = 1u << (stream.bits - 1);
        bits = ((bits & (2 * sign - 1)) ^ sign) - sign;
    } else if (!form.is_signed && stream.is_signed) {
        bits &= (1u << stream.bits) - 1;
    }
    return stream.bits > form.stored ? bits : bits << (form.high_bit + 1 - form.stored);
}

msa_status decode_openjpeg(std::vector<uint8_t> &bytes, const File &f, msa_error *err)
{
    std::vector<int32_t> samples;
    CodestreamForm stream;
    MSA_TRY(decode_jpeg2000(samples, stream, bytes, f.header.rows, f.header.cols, f.form.allocated, err));
    bytes.resize(size_t(frame_size(f)));
    for (size_t i = 0; i < samples.size(); i++) {
        const uint32_t bits = as_header_means(samples[i], stream, f.form);
        if (f.form.allocated == 8) {
            bytes[i] = uint8_t(bits);
        } else {
            bytes[2 * i] = uint8_t(bits);
            bytes[2 * i + 1] = uint8_t(bits >> 8);
        }
    }
    return MSA_OK;
}

} // namespace

msa_status decode_frame(std::vector<uint8_t> &bytes, const File &f, msa_error *err)
{
    const Syntax *syntax = find_syntax(f.scan.transfer_syntax_uid);
    switch (syntax != nullptr ? syntax->codec : Codec::none) {
    case Codec::dcmtk:
        return decode_dcmtk(bytes, f, err);
    case Codec::openjpeg:
        return decode_openjpeg(bytes, f, err);
    case Codec::none:
        break;
    }
    if (bytes.size() < frame_size(f))
        return msa_fail(err, MSA_E_PARSE, "a frame of the pixel data is too short");
    bytes.resize(size_t(frame_size(f)));
    return MSA_OK;
}

} // namespace dicom
