/* Reading back: pixels. The unpacking shares no code with the packing. */
#include "dicom/seg/verify_impl.h"

#include <array>
#include <cstring>

using dicom::seg::checked_frame;
using dicom::seg::checked_plane;
using dicom::seg::element;
using dicom::seg::part10_stream;
using dicom::seg::reading;

namespace
{

/* Eight mask bytes for each byte of packed bits. */
std::array<std::array<uint8_t, 8>, 256> unpacked()
{
    std::array<std::array<uint8_t, 8>, 256> table{};
    for (unsigned b = 0; b < 256; b++)
        for (unsigned k = 0; k < 8; k++)
            table[b][k] = b >> k & 1;
    return table;
}

/* The plane as the engine saw it. */
checked_plane plane_in_memory(const dicom_series &series, int32_t slice)
{
    checked_plane p;
    for (int k = 0; k < 3; k++) {
        p.origin[k] = series.slices[static_cast<size_t>(slice)].origin_mm[k];
        p.row[k] = series.info.row_dir[k];
        p.col[k] = series.info.col_dir[k];
    }
    p.between_rows = series.info.spacing_mm[0];
    p.between_cols = series.info.spacing_mm[1];
    return p;
}

msa_status pixel_differs(const reading &r, size_t segment, int32_t slice, size_t p, unsigned stored,
                         msa_error *err)
{
    const size_t cols = static_cast<size_t>(r.series.info.cols);
    return msa_fail(err, MSA_E_INTERNAL,
                    "segment %zu, slice %d: pixel (row %zu, column %zu) was read back as %u", segment + 1,
                    slice, p / cols, p % cols, stored);
}

/* A frame that was found equal: its set pixels count for both centroids, each with the plane of its side. */
void count_pixels(reading &r, size_t segment, const checked_frame &f)
{
    const uint8_t *mask = r.mask(segment, f.slice);
    const size_t cols = static_cast<size_t>(r.series.info.cols);
    double n = 0, rows_sum = 0, cols_sum = 0;
    for (size_t row = 0; row < r.pixels / cols; row++, mask += cols) {
        uint64_t count = 0, sum = 0;
        for (size_t c = 0; c < cols;) {
            uint64_t eight = 0;
            if (cols - c >= 8) std::memcpy(&eight, mask + c, 8);
            if (cols - c >= 8 && eight == 0) {
                c += 8;
                continue;
            }
            const size_t end = cols - c >= 8 ? c + 8 : cols;
            for (; c < end; c++) {
                count += mask[c] != 0;
                sum += mask[c] != 0 ? c : 0;
            }
        }
        n += static_cast<double>(count);
        rows_sum += static_cast<double>(row) * static_cast<double>(count);
        cols_sum += static_cast<double>(sum);
    }
    r.on_disk[segment].add(f.plane, n, rows_sum, cols_sum);
    r.in_memory[segment].add(plane_in_memory(r.series, f.slice), n, rows_sum, cols_sum);
}

/* `shift` bits of bits[0] belong to the frame before. */
msa_status compare_bits(const reading &r, const checked_frame &f, const uint8_t *bits, unsigned shift,
                        msa_error *err)
{
    static const std::array<std::array<uint8_t, 8>, 256> table = unpacked();
    const uint8_t *mask = r.mask(f.segment, f.slice);
    for (size_t p = 0; p < r.pixels; p += 8) {
        const size_t k = p / 8, part = r.pixels - p < 8 ? r.pixels - p : 8;
        const bool next = shift > 0 && shift + part > 8; /* the rest lies in the byte behind */
        const unsigned byte = (bits[k] >> shift | (next ? bits[k + 1] << (8 - shift) : 0)) & 0xffu;
        if (std::memcmp(table[byte].data(), mask + p, part) == 0) continue;
        for (size_t i = 0; i < part; i++)
            if (table[byte][i] != (mask[p + i] != 0))
                return pixel_differs(r, f.segment, f.slice, p + i, table[byte][i], err);
    }
    return MSA_OK;
}

msa_status compare_all_bits(reading &r, part10_stream &file, msa_error *err)
{
    std::vector<uint8_t> bytes(r.pixels / 8 + 2);
    unsigned shift = 0; /* bits of bytes[0] that are done */
    size_t held = 0;    /* bytes of the frame that are there already: 0 or 1 */
    for (const checked_frame &f : r.frames) {
        const size_t need = (shift + r.pixels + 7) / 8;
        if (!file.read(bytes.data() + held, need - held))
            return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back with too few pixels");
        MSA_TRY(compare_bits(r, f, bytes.data(), shift, err));
        count_pixels(r, f.segment, f);
        shift = (shift + r.pixels) % 8;
        held = shift > 0;
        if (held) bytes[0] = bytes[need - 1];
    }
    return MSA_OK;
}

/* 8 or 16 bit, in the order of the file. */
msa_status compare_fractions(reading &r, const checked_frame &f, const uint8_t *stored, msa_error *err)
{
    const dicom_segment &s = *r.segments[f.segment];
    const uint8_t *mask = r.mask(f.segment, f.slice);
    const uint8_t *given = s.probability ? s.probability + static_cast<size_t>(f.slice) * r.pixels : nullptr;
    bool any = false;
    for (size_t p = 0; p < r.pixels; p++)
        any = any || mask[p] != 0;
    for (size_t p = 0; p < r.pixels; p++) {
        const unsigned wanted = !any ? 0 : given ? given[p] : mask[p] ? 255 : 0;
        if (stored[p] != wanted) return pixel_differs(r, f.segment, f.slice, p, stored[p], err);
    }
    count_pixels(r, f.segment, f);
    return MSA_OK;
}

msa_status compare_labels(reading &r, const checked_frame &f, const uint8_t *stored, size_t bytes,
                          msa_error *err)
{
    for (size_t seg = 0; seg < r.n; seg++) {
        const uint8_t *mask = r.mask(seg, f.slice);
        const unsigned number = static_cast<unsigned>(seg + 1);
        for (size_t p = 0; p < r.pixels; p++) {
            const unsigned label = bytes == 2 ? stored[2 * p] | stored[2 * p + 1] << 8 : stored[p];
            if ((label == number) != (mask[p] != 0) || label > r.n)
                return pixel_differs(r, seg, f.slice, p, label, err);
        }
        r.seen[seg][static_cast<size_t>(f.slice)] = true;
        count_pixels(r, seg, f);
    }
    return MSA_OK;
}

/* PS3.5 annex G backwards: byte planes, the most significant first, to samples. */
bool unrle(const std::vector<uint8_t> &in, std::vector<uint8_t> &out, size_t pixels)
{
    const size_t planes = out.size() / pixels;
    const auto word = [&](size_t at) {
        return static_cast<size_t>(in[at] | in[at + 1] << 8 | in[at + 2] << 16) |
               static_cast<size_t>(in[at + 3]) << 24;
    };
    if (in.size() < 64 || word(0) != planes) return false;
    for (size_t k = 0; k < planes; k++) {
        size_t at = word(4 + 4 * k), done = 0;
        const size_t end = k + 1 < planes ? word(8 + 4 * k) : in.size();
        if (end > in.size()) return false;
        while (done < pixels) {
            if (at >= end) return false;
            const unsigned code = in[at++];
            const size_t run = code < 128 ? code + 1 : code > 128 ? 257 - code : 0;
            if (run > pixels - done || (code < 128 ? run : 1) > end - at) return false;
            for (size_t i = 0; i < run; i++, done++)
                out[done * planes + planes - 1 - k] = in[code < 128 ? at + i : at];
            at += code < 128 ? run : run > 0;
        }
    }
    return true;
}

msa_status read_frame(part10_stream &file, std::vector<uint8_t> &frame, bool rle, size_t pixels,
                      msa_error *err)
{
    std::vector<uint8_t> packed;
    element item;
    const bool ok = rle ? file.next_item(item) && item.tag == 0xfffee000 && file.read(packed, item.length) &&
                              unrle(packed, frame, pixels)
                        : file.read(frame.data(), frame.size());
    return ok ? MSA_OK : msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back with too few pixels");
}

} // namespace

msa_status dicom::seg::compare_pixels(reading &r, part10_stream &file, const element &data, msa_error *err)
{
    const bool rle = r.form.compression == DICOM_SEG_RLE;
    const size_t bytes = r.form.format == DICOM_SEG_LABELMAP && r.n > 255 ? 2 : 1;
    const uint64_t bits = static_cast<uint64_t>(r.frames.size()) * r.pixels *
                          (r.form.format == DICOM_SEG_BINARY ? 1 : 8 * bytes);
    element offsets;
    if (!rle && data.length != (bits + 15) / 16 * 2)
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back with %u bytes for %zu frames",
                        data.length, r.frames.size());
    if (rle && (data.length != 0xffffffff || !file.next_item(offsets) || !file.skip(offsets.length)))
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back without its compressed frames");
    if (r.form.format == DICOM_SEG_BINARY) return compare_all_bits(r, file, err);
    std::vector<uint8_t> frame(r.pixels * bytes);
    for (const checked_frame &f : r.frames) {
        MSA_TRY(read_frame(file, frame, rle, r.pixels, err));
        if (r.form.format == DICOM_SEG_LABELMAP)
            MSA_TRY(compare_labels(r, f, frame.data(), bytes, err));
        else
            MSA_TRY(compare_fractions(r, f, frame.data(), err));
    }
    return MSA_OK;
}
