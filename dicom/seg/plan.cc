/* Which segments go into which instance, and which frames those have. */
#include "dicom/seg/seg_impl.h"

#include <algorithm>
#include <atomic>
#include <new>

#include "dicom/seg/digest.h"
#include "dicom/seg/pack.h"
#include "engine/base/pool.h"

namespace
{

using dicom::seg::pixel_range;
using dicom::seg::planned_file;
using dicom::seg::planned_segment;

enum { WEASIS_FRAMES_MAX = 400 }; /* an instance of more was not shown by releases still in use */

/* One segment on one slice: its bits, as words, within its range. */
struct piece {
    size_t segment;
    pixel_range range;
    std::vector<uint64_t> bits; /* of the whole slice; those outside the range hold anything */
};

bool meet(const std::vector<uint64_t> &a, const std::vector<uint64_t> &b, size_t first, size_t end)
{
    uint64_t both = 0;
    for (size_t i = first; i < end; i++)
        both |= a[i] & b[i];
    return both != 0;
}

/* A segment that has pixels on a slice. */
struct presence {
    size_t segment;
    pixel_range range;
    uint64_t digest;
};

/* What one slice says: which segments have pixels on it, and which pairs (the later one first) share some. */
struct slice_scan {
    std::vector<presence> present;
    std::vector<std::pair<size_t, size_t>> shared;
};

/* What a thread works with; it holds the bits of one slice. */
struct scratch {
    std::vector<piece> pieces;
    std::vector<uint64_t> taken; /* by any segment */
};

/* The one walk over all masks, slice by slice; the engine's threads share them. */
struct scanner {
    const std::vector<planned_segment> &all;
    size_t pixels, cols;
    std::vector<slice_scan> slices;
    std::vector<scratch> workers;
    std::atomic<bool> failed{false};

    static void run(void *ctx, int32_t item, int32_t worker)
    {
        scanner &s = *static_cast<scanner *>(ctx);
        try {
            s.scan(static_cast<size_t>(item), s.workers[static_cast<size_t>(worker)]);
        } catch (...) { /* memory: no exception may end a thread of the pool */
            s.failed = true;
        }
    }

  private:
    bool find_range(pixel_range &out, const dicom_segment &s, const uint8_t *mask, size_t slice) const
    {
        const dicom_extent &e = s.extent;
        size_t first = 0, end = pixels;
        if (e.end_slice > 0) {
            if (slice < static_cast<size_t>(e.first_slice) || slice >= static_cast<size_t>(e.end_slice))
                return false;
            first = static_cast<size_t>(e.first_row) * cols / 64 * 64;
            end = std::min(pixels, (static_cast<size_t>(e.end_row) * cols + 63) / 64 * 64);
        }
        if (!dicom_pack_range(mask + first, end - first, &out.first, &out.end)) return false;
        out.first += first;
        out.end += first;
        return true;
    }
    void scan(size_t slice, scratch &w)
    {
        const size_t words = (pixels + 63) / 64;
        size_t n = 0;
        for (const planned_segment &s : all) {
            const uint8_t *mask = s.in->mask + slice * pixels;
            pixel_range range;
            if (!find_range(range, *s.in, mask, slice)) continue;
            if (w.pieces.size() == n) w.pieces.push_back({0, {0, 0}, std::vector<uint64_t>(words)});
            piece &p = w.pieces[n++];
            p.segment = s.index;
            p.range = range;
            dicom_pack_words(p.bits.data() + range.first / 64, mask + range.first, range.end - range.first);
            slices[slice].present.push_back(
                {s.index, range,
                 dicom::seg::digest_pixels(mask + range.first, range.end - range.first, range.first)});
        }
        w.taken.assign(words, 0);
        for (size_t a = 0; a < n; a++) {
            const piece &p = w.pieces[a];
            const size_t first = p.range.first / 64, end = (p.range.end + 63) / 64;
            if (meet(w.taken, p.bits, first, end)) find_shared(slices[slice], w.pieces, a);
            for (size_t i = first; i < end; i++)
                w.taken[i] |= p.bits[i];
        }
    }
    static void find_shared(slice_scan &out, const std::vector<piece> &pieces, size_t a)
    {
        const piece &p = pieces[a];
        for (size_t b = 0; b < a; b++) {
            const piece &q = pieces[b];
            const size_t first = std::max(p.range.first, q.range.first) / 64,
                         end = (std::min(p.range.end, q.range.end) + 63) / 64;
            if (first < end && meet(p.bits, q.bits, first, end))
                out.shared.emplace_back(p.segment, q.segment);
        }
    }
};

/* Which segments share a pixel. */
class overlaps
{
  public:
    explicit overlaps(size_t n) : n_(n), pairs_(n * n) {}
    void add(const std::pair<size_t, size_t> &pair)
    {
        pairs_[pair.first * n_ + pair.second] = true;
    }
    bool operator()(size_t later, size_t earlier) const
    {
        return pairs_[later * n_ + earlier];
    }

  private:
    size_t n_;
    std::vector<bool> pairs_;
};

void scan(std::vector<planned_segment> &all, overlaps &shared, const dicom_volume_info &info)
{
    const size_t n = static_cast<size_t>(info.slices);
    const size_t cols = static_cast<size_t>(info.cols);
    scanner s{all, static_cast<size_t>(info.rows) * cols, cols, std::vector<slice_scan>(n),
              std::vector<scratch>(MSA_THREADS_MAX)};
    msa_pool_run(scanner::run, &s, info.slices, msa_threads_get());
    if (s.failed) throw std::bad_alloc();
    for (size_t k = 0; k < n; k++) {
        for (const auto &p : s.slices[k].present) {
            all[p.segment].slices.push_back(static_cast<int32_t>(k));
            all[p.segment].ranges.push_back(p.range);
            all[p.segment].digests[k] = p.digest;
        }
        for (const auto &pair : s.slices[k].shared)
            shared.add(pair);
    }
}

/* Colours are told apart within the whole result, not only within one instance: a viewer shows them together.
 */
dicom_colour choose_colour(const dicom_meaning &meaning, std::vector<dicom_colour> &taken)
{
    const auto is_taken = [&](const dicom_colour &c) {
        return std::any_of(taken.begin(), taken.end(),
                           [&](const dicom_colour &t) { return std::equal(t.lab, t.lab + 3, c.lab); });
    };
    dicom_colour colour = dicom_palette[taken.size() % dicom_palette_n];
    if (meaning.entry && !is_taken(meaning.entry->colour)) {
        colour = meaning.entry->colour;
    } else {
        for (size_t k = 0; k < dicom_palette_n && is_taken(colour); k++)
            colour = dicom_palette[k];
    }
    taken.push_back(colour);
    return colour;
}

/* An instance in the making: segments by their index. */
struct layer {
    std::vector<size_t> segments;
    size_t frames = 0;
};

/* Each segment to the first instance where it overlaps nothing and finds room; frames_max 0: no limit. */
std::vector<layer> assign(const std::vector<planned_segment> &all, const overlaps &shared, bool may_overlap,
                          size_t frames_max)
{
    std::vector<layer> out;
    for (const planned_segment &s : all) {
        if (s.slices.empty()) continue;
        const auto free = std::find_if(out.begin(), out.end(), [&](const layer &l) {
            return (frames_max == 0 || l.frames + s.slices.size() <= frames_max) &&
                   (may_overlap || std::none_of(l.segments.begin(), l.segments.end(),
                                                [&](size_t earlier) { return shared(s.index, earlier); }));
        });
        layer &to = free == out.end() ? out.emplace_back() : *free;
        to.segments.push_back(s.index);
        to.frames += s.slices.size();
    }
    return out;
}

/* A label map has one frame for each position, the others one for each segment and position. */
void plan_frames(planned_file &file, const dicom_seg_form &form, int32_t slices, size_t pixels)
{
    if (form.empty_frames) {
        for (int32_t k = 0; k < slices; k++)
            file.positions.push_back(k);
    } else {
        for (const planned_segment &s : file.segments)
            file.positions.insert(file.positions.end(), s.slices.begin(), s.slices.end());
        std::sort(file.positions.begin(), file.positions.end());
        file.positions.erase(std::unique(file.positions.begin(), file.positions.end()), file.positions.end());
    }
    if (form.format == DICOM_SEG_LABELMAP) {
        for (const int32_t slice : file.positions)
            file.frames.push_back({0, slice, {0, pixels}});
        return;
    }
    for (size_t k = 0; k < file.segments.size(); k++) {
        const planned_segment &s = file.segments[k];
        size_t at = 0;
        for (const int32_t slice : form.empty_frames ? file.positions : s.slices) {
            const bool there = at < s.slices.size() && s.slices[at] == slice;
            file.frames.push_back({k, slice, there ? s.ranges[at] : pixel_range{0, 0}});
            at += there;
        }
    }
}

} // namespace

msa_status dicom::seg::make_plan(std::vector<planned_file> &out, const dicom_series &series,
                                 const dicom_segment *segments, size_t n, const dicom_seg_form &form,
                                 msa_error *err)
{
    const bool labelmap = form.format == DICOM_SEG_LABELMAP;
    std::vector<planned_segment> all;
    std::vector<dicom_colour> taken;
    overlaps shared(n);
    for (size_t i = 0; i < n; i++)
        all.push_back({&segments[i],
                       i,
                       {},
                       {},
                       std::vector<uint64_t>(static_cast<size_t>(series.info.slices)),
                       {},
                       {}});
    scan(all, shared, series.info);
    const bool may_overlap = form.profile == DICOM_SEG_SLICER && !labelmap;
    const bool limited = form.profile == DICOM_SEG_WEASIS && !form.empty_frames && !labelmap;
    std::vector<layer> layers = assign(all, shared, may_overlap, limited ? WEASIS_FRAMES_MAX : 0);
    if (limited && layers.size() > DICOM_SEG_FILES_MAX) layers = assign(all, shared, may_overlap, 0);
    if (layers.size() > DICOM_SEG_FILES_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "segment %zu overlaps in more than %d layers",
                        layers[DICOM_SEG_FILES_MAX].segments.front() + 1, DICOM_SEG_FILES_MAX);
    if (layers.empty())
        return msa_fail(err, MSA_E_NOT_FOUND, "no segment has a pixel, so there is nothing to write");
    for (planned_segment &s : all) { /* in the order of the caller, whatever the instance */
        if (s.slices.empty()) continue;
        dicom_meaning_find(&s.meaning, s.in->label, &s.in->category, &s.in->type);
        s.colour = choose_colour(s.meaning, taken);
    }
    for (const layer &l : layers) {
        planned_file file;
        for (const size_t i : l.segments)
            file.segments.push_back(std::move(all[i]));
        plan_frames(file, form, series.info.slices,
                    static_cast<size_t>(series.info.rows) * static_cast<size_t>(series.info.cols));
        out.push_back(std::move(file));
    }
    return MSA_OK;
}
