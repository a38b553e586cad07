/* The checker: pixel data, as far as it can be told wrong without knowing the masks. */
#include "dicom/seg/check_impl.h"

#include "dcmtk/dcmdata/dcpixel.h"
#include "dcmtk/dcmdata/dcpixseq.h"
#include "dcmtk/dcmdata/dcpxitem.h"

#include <algorithm>

#include <zlib.h>

#include "dicom/read/prescan.h"
#include "dicom/seg/read_back.h"

using dicom::seg::subject;

namespace
{

bool inflate_frame(const Uint8 *in, size_t size, std::vector<uint8_t> &out)
{
    z_stream z{};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return false;
    z.next_in = const_cast<Bytef *>(in);
    z.avail_in = static_cast<uInt>(size);
    z.next_out = out.data();
    z.avail_out = static_cast<uInt>(out.size());
    (void)inflate(&z, Z_FINISH);
    const bool whole = z.avail_out == 0 || (z.total_out == out.size());
    (void)inflateEnd(&z);
    return whole;
}

size_t frame_bytes(const subject &s)
{
    return (static_cast<size_t>(s.rows) * static_cast<size_t>(s.cols) * static_cast<size_t>(s.bits) + 7) / 8;
}

/* Frames of one fragment each, one behind the other; of single bits each begins a byte, so nothing that looks
 * across frames may be asked of them. false: reported, or a compression that is not looked into. */
bool unpack(subject &s, DcmPixelData &element, const std::string &syntax, std::vector<uint8_t> &out)
{
    DcmPixelSequence *sequence = nullptr;
    E_TransferSyntax xfer = EXS_Unknown;
    const DcmRepresentationParameter *parameter = nullptr;
    element.getOriginalRepresentationKey(xfer, parameter);
    const bool rle = syntax == UID_RLELosslessTransferSyntax;
    if (element.getEncapsulatedRepresentation(xfer, parameter, sequence).bad() || !sequence) {
        s.found.say("the pixel data are not compressed as the transfer syntax says");
        return false;
    }
    if (!rle && syntax != dicom::UID_DEFLATED_FRAMES) return false;
    if (sequence->card() != s.frames + 1) {
        s.found.say("the pixel data do not hold one fragment for each frame");
        return false;
    }
    const size_t bytes = frame_bytes(s), samples = s.bits == 16 ? bytes / 2 : bytes;
    std::vector<uint8_t> frame(bytes);
    DcmObject *at = sequence->nextInContainer(nullptr); /* the offset table */
    for (size_t k = 0; k < s.frames; k++) {
        at = sequence->nextInContainer(at);
        DcmPixelItem *item = static_cast<DcmPixelItem *>(at);
        Uint8 *packed = nullptr;
        if (item->getUint8Array(packed).bad() || !packed ||
            !(rle ? dicom::seg::unpack_rle(packed, item->getLength(), frame, samples)
                  : inflate_frame(packed, item->getLength(), frame))) {
            s.found.frame(k, "its pixels cannot be decompressed");
            return false;
        }
        out.insert(out.end(), frame.begin(), frame.end());
    }
    return true;
}

/* As the file has them; words in little endian. */
bool plain(subject &s, DcmPixelData &element, std::vector<uint8_t> &out)
{
    Uint8 *bytes = nullptr;
    Uint16 *words = nullptr;
    const size_t size = element.getLength();
    if (element.getUint8Array(bytes).good() && bytes) {
        out.assign(bytes, bytes + size);
        return true;
    }
    if (element.getUint16Array(words).good() && words) {
        for (size_t k = 0; k < size / 2; k++) {
            out.push_back(static_cast<uint8_t>(words[k]));
            out.push_back(static_cast<uint8_t>(words[k] >> 8));
        }
        return true;
    }
    s.found.say("the pixel data cannot be read to their end");
    return false;
}

/**
 * A mask has few edges, and those lie anywhere in their bytes. Where the bits of each byte are reversed, the
 * edges within bytes stay as many, but neighbouring bytes no longer fit each other.
 */
void check_bit_order(subject &s, const std::vector<uint8_t> &bytes)
{
    size_t as_stored = 0, reversed = 0;
    for (size_t k = 1; k < bytes.size(); k++) {
        as_stored += bytes[k - 1] >> 7 != (bytes[k] & 1);
        reversed += (bytes[k - 1] & 1) != bytes[k] >> 7;
    }
    if (as_stored >= 8 && as_stored > 2 * reversed)
        s.found.say("the bits of each byte are in the wrong order: the masks fall apart into stripes");
}

void check_padding(subject &s, const std::vector<uint8_t> &bytes)
{
    const uint64_t bits =
        static_cast<uint64_t>(s.frames) * static_cast<uint64_t>(s.rows) * static_cast<uint64_t>(s.cols);
    if (bits % 8 != 0 && bytes[bits / 8] >> (bits % 8) != 0)
        s.found.say("bits behind the last pixel are set");
}

void check_labels(subject &s, const std::vector<uint8_t> &bytes)
{
    const size_t step = static_cast<size_t>(s.bits / 8);
    Uint16 padding = 0;
    (void)s.dataset.findAndGetUint16(DCM_PixelPaddingValue, padding);
    std::vector<bool> known(65536);
    known[0] = known[padding] = true;
    for (const unsigned number : s.segments)
        known[number & 0xffff] = true;
    const size_t pixels = static_cast<size_t>(s.rows) * static_cast<size_t>(s.cols);
    for (size_t k = 0; k + step <= bytes.size() && k / step < pixels * s.frames; k += step) {
        const unsigned label = step == 2 ? bytes[k] | bytes[k + 1] << 8 : bytes[k];
        if (known[label]) continue;
        s.found.frame(k / step / pixels, "it has a pixel of a segment that is not described");
        return;
    }
}

void check_fractions(subject &s, const std::vector<uint8_t> &bytes)
{
    Uint16 most = 0;
    if (s.dataset.findAndGetUint16(DCM_MaximumFractionalValue, most).bad() || most == 0) return;
    if (std::any_of(bytes.begin(), bytes.end(), [&](uint8_t v) { return v > most; }))
        s.found.say("a pixel is above the Maximum Fractional Value");
}

} // namespace

void dicom::seg::check_pixels(subject &s)
{
    DcmElement *element = nullptr;
    std::vector<uint8_t> bytes;
    if (s.dataset.findAndGetElement(DCM_PixelData, element).bad() || element->ident() != EVR_PixelData) {
        s.found.say("there are no pixel data");
        return;
    }
    if (s.rows < 1 || s.cols < 1 || s.frames < 1 || (s.bits != 1 && s.bits != 8 && s.bits != 16)) return;
    DcmPixelData &pixels = *static_cast<DcmPixelData *>(element);
    const bool compressed = s.syntax_uid == UID_RLELosslessTransferSyntax ||
                            s.syntax_uid == dicom::UID_DEFLATED_FRAMES ||
                            DcmXfer(s.syntax_uid.c_str()).isEncapsulated();
    if (compressed) {
        if (!unpack(s, pixels, s.syntax_uid, bytes)) return;
    } else {
        if (!plain(s, pixels, bytes)) return;
        const uint64_t bits = static_cast<uint64_t>(s.frames) * static_cast<uint64_t>(s.rows) *
                              static_cast<uint64_t>(s.cols) * static_cast<uint64_t>(s.bits);
        const uint64_t need = (bits + 15) / 16 * 2;
        if (bytes.size() != need) {
            s.found.say("the pixel data have " + std::to_string(bytes.size()) +
                        " bytes, but the frames need " + std::to_string(need));
            return;
        }
        if (s.bits == 1) check_padding(s, bytes);
    }
    if (s.bits == 1) check_bit_order(s, bytes);
    if (s.labelmap) check_labels(s, bytes);
    if (s.type == "FRACTIONAL" && s.bits == 8) check_fractions(s, bytes);
}
