/* Reading back: pixels. The unpacking shares no code with the packing. */
#include "dicom/seg/verify_impl.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/base/pool.h"

using dicom::seg::checked_frame;
using dicom::seg::checked_plane;
using dicom::seg::element;
using dicom::seg::part10_stream;
using dicom::seg::reading;

namespace
{

constexpr size_t BATCH_BITS = size_t(8) << 20; /* a megabyte */

/* What each byte of packed bits means. */
struct byte_meaning {
    uint64_t bytes = 0;          /* its eight pixels, the first one lowest */
    unsigned count = 0, sum = 0; /* bits that are set; sum of their places */
};

std::array<byte_meaning, 256> make_meanings()
{
    std::array<byte_meaning, 256> table{};
    for (unsigned b = 0; b < 256; b++) {
        for (unsigned k = 0; k < 8; k++) {
            const unsigned set = b >> k & 1;
            table[b].bytes |= static_cast<uint64_t>(set) << (8 * k);
            table[b].count += set;
            table[b].sum += set * k;
        }
    }
    return table;
}

const std::array<byte_meaning, 256> meanings = make_meanings();

/* Set pixels of a frame, and sums of their places. */
struct pixel_sums {
    size_t cols;
    uint64_t count = 0, rows = 0, columns = 0;
    void add(size_t p)
    {
        count++;
        rows += p / cols;
        columns += p % cols;
    }
    /* Eight pixels from p on, which lies on that row and column. */
    void add(size_t p, size_t row, size_t col, const byte_meaning &m)
    {
        if (col + 8 > cols) {
            for (unsigned k = 0; k < 8; k++)
                if (m.bytes >> (8 * k) & 1) add(p + k);
            return;
        }
        count += m.count;
        rows += row * m.count;
        columns += col * m.count + m.sum;
    }
};

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
void count_pixels(reading &r, size_t segment, const checked_frame &f, const pixel_sums &sums)
{
    const double n = static_cast<double>(sums.count), rows = static_cast<double>(sums.rows),
                 columns = static_cast<double>(sums.columns);
    r.on_disk[segment].add(f.plane, n, rows, columns);
    r.in_memory[segment].add(plane_in_memory(r.series, f.slice), n, rows, columns);
}

void count_mask(reading &r, size_t segment, const checked_frame &f)
{
    const uint8_t *mask = r.mask(segment, f.slice);
    pixel_sums sums = {static_cast<size_t>(r.series.info.cols)};
    for (size_t p = 0; p < r.pixels; p++)
        if (mask[p]) sums.add(p);
    count_pixels(r, segment, f, sums);
}

/* A frame whose digest is not that of its mask: which pixel it is. */
msa_status name_pixel(const reading &r, const checked_frame &f, const uint8_t *bits, unsigned shift,
                      msa_error *err)
{
    const uint8_t *mask = r.mask(f.segment, f.slice);
    for (size_t p = 0; p < r.pixels; p++) {
        const unsigned stored = bits[(p + shift) / 8] >> (p + shift) % 8 & 1;
        if (stored != (mask[p] != 0)) return pixel_differs(r, f.segment, f.slice, p, stored, err);
    }
    return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %d: the mask is not what it was when written",
                    f.segment + 1, f.slice);
}

/* `shift` bits of bits[0] belong to the frame before. bits has eight bytes to spare. */
msa_status compare_bits(const reading &r, const checked_frame &f, const uint8_t *bits, unsigned shift,
                        pixel_sums &sums, msa_error *err)
{
    uint64_t digest = 0;
    for (size_t p = 0; p < r.pixels;) {
        const uint8_t *at = bits + p / 8;
        if (r.pixels - p >= 64) {
            uint64_t word = 0; /* in any byte order: only whether it is 0 matters */
            std::memcpy(&word, at, 8);
            if (word == 0 && (shift == 0 || (at[8] << (8 - shift) & 0xff) == 0)) {
                p += 64;
                continue;
            }
        }
        size_t row = p / sums.cols, col = p % sums.cols; /* a division for every byte would be felt */
        for (const size_t end = std::min(p + 64, r.pixels); p < end; p += 8, col += 8, at++) {
            for (; col >= sums.cols; col -= sums.cols)
                row++;
            const size_t part = std::min<size_t>(end - p, 8);
            const bool next = shift > 0 && shift + part > 8; /* the rest lies in the byte behind */
            const unsigned byte =
                (at[0] >> shift | (next ? at[1] << (8 - shift) : 0)) & (0xffu >> (8 - part));
            if (byte == 0) continue;
            digest += dicom::seg::digest_group(p / 8, meanings[byte].bytes);
            sums.add(p, row, col, meanings[byte]);
        }
    }
    return digest == r.digest(f.segment, f.slice) ? MSA_OK : name_pixel(r, f, bits, shift, err);
}

/* Some frames whose bits follow each other in `bytes`; the engine's threads share them. */
struct frame_batch {
    const reading &r;
    size_t first, n;
    std::vector<uint8_t> bytes = {};
    unsigned shift = 0; /* bits of bytes[0] that are done */
    std::vector<pixel_sums> sums = {};
    std::vector<msa_status> status = {};
    std::vector<msa_error> error = {};

    static void run(void *ctx, int32_t item, int32_t)
    {
        frame_batch &b = *static_cast<frame_batch *>(ctx);
        const size_t i = static_cast<size_t>(item);
        const uint64_t bit = b.shift + static_cast<uint64_t>(i) * b.r.pixels;
        b.status[i] = compare_bits(b.r, b.r.frames[b.first + i], b.bytes.data() + bit / 8, bit % 8, b.sums[i],
                                   &b.error[i]);
    }
};

msa_status compare_all_bits(reading &r, part10_stream &file, msa_error *err)
{
    const size_t most = std::max<size_t>(1, std::min<size_t>(64, BATCH_BITS / r.pixels));
    const size_t cols = static_cast<size_t>(r.series.info.cols);
    frame_batch b = {r, 0, 0};
    size_t held = 0; /* bytes that are there already: 0 or 1 */
    for (; b.first < r.frames.size(); b.first += b.n) {
        b.n = std::min(most, r.frames.size() - b.first);
        const size_t bits = b.shift + b.n * r.pixels, need = (bits + 7) / 8;
        b.bytes.resize(most * r.pixels / 8 + 18);
        if (!file.read(b.bytes.data() + held, need - held))
            return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back with too few pixels");
        b.sums.assign(b.n, {cols});
        b.status.assign(b.n, MSA_OK);
        b.error.assign(b.n, MSA_ERROR_INIT);
        msa_pool_run(frame_batch::run, &b, static_cast<int32_t>(b.n), msa_threads_get());
        for (size_t i = 0; i < b.n; i++) {
            const checked_frame &f = r.frames[b.first + i];
            if (b.status[i] != MSA_OK) {
                if (err) *err = b.error[i];
                return b.status[i];
            }
            count_pixels(r, f.segment, f, b.sums[i]);
        }
        b.shift = bits % 8;
        held = b.shift > 0;
        if (held) b.bytes[0] = b.bytes[need - 1];
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
    count_mask(r, f.segment, f);
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
        count_mask(r, seg, f);
    }
    return MSA_OK;
}

msa_status read_frame(part10_stream &file, std::vector<uint8_t> &frame, bool rle, size_t pixels,
                      msa_error *err)
{
    std::vector<uint8_t> packed;
    element item;
    const bool ok = rle ? file.next_item(item) && item.tag == 0xfffee000 && file.read(packed, item.length) &&
                              dicom::seg::unpack_rle(packed.data(), packed.size(), frame, pixels)
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
