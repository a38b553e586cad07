#include "dicom/seg/seg_impl.h"

#include <algorithm>
#include <memory>

#include "dicom/seg/pack.h"

namespace
{

using dicom::seg::planned_file;
using dicom::seg::planned_segment;

/* Which pixels of one slice an instance has used; not allocated while it has none. */
using slice_bits = std::vector<uint64_t>;

class occupancy
{
  public:
    occupancy(size_t slices, size_t pixels) : slices_(slices), words_((pixels + 63) / 64) {}

    bool overlaps(int32_t slice, const slice_bits &bits) const
    {
        const slice_bits &used = slices_[static_cast<size_t>(slice)];
        for (size_t i = 0; i < used.size(); i++)
            if (used[i] & bits[i]) return true;
        return false;
    }
    void add(int32_t slice, const slice_bits &bits)
    {
        slice_bits &used = slices_[static_cast<size_t>(slice)];
        used.resize(words_);
        for (size_t i = 0; i < words_; i++)
            used[i] |= bits[i];
    }

  private:
    std::vector<slice_bits> slices_;
    size_t words_;
};

struct geometry {
    size_t slices, pixels;
    const uint8_t *mask(const dicom_segment &s, int32_t slice) const
    {
        return s.mask + static_cast<size_t>(slice) * pixels;
    }
};

bool fits(const occupancy &used, const planned_segment &s, const geometry &g)
{
    slice_bits bits((g.pixels + 63) / 64);
    for (const int32_t slice : s.slices) {
        dicom_pack_words(bits.data(), g.mask(*s.in, slice), g.pixels);
        if (used.overlaps(slice, bits)) return false;
    }
    return true;
}

void occupy(occupancy &used, const planned_segment &s, const geometry &g)
{
    slice_bits bits((g.pixels + 63) / 64);
    for (const int32_t slice : s.slices) {
        dicom_pack_words(bits.data(), g.mask(*s.in, slice), g.pixels);
        used.add(slice, bits);
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

void finish(planned_file &file)
{
    for (const planned_segment &s : file.segments) {
        file.frames += static_cast<int32_t>(s.slices.size());
        file.positions.insert(file.positions.end(), s.slices.begin(), s.slices.end());
    }
    std::sort(file.positions.begin(), file.positions.end());
    file.positions.erase(std::unique(file.positions.begin(), file.positions.end()), file.positions.end());
}

} // namespace

msa_status dicom::seg::make_plan(std::vector<planned_file> &out, const dicom_series &series,
                                 const dicom_segment *segments, size_t n, msa_error *err)
{
    const dicom_volume_info &info = series.info;
    const geometry g = {static_cast<size_t>(info.slices),
                        static_cast<size_t>(info.rows) * static_cast<size_t>(info.cols)};
    std::vector<occupancy> used;
    std::vector<dicom_colour> taken;
    for (size_t i = 0; i < n; i++) {
        planned_segment s = {&segments[i], i, {}, {}, {}};
        for (int32_t k = 0; k < info.slices; k++)
            if (dicom_pack_any(g.mask(segments[i], k), g.pixels)) s.slices.push_back(k);
        if (s.slices.empty()) continue;
        dicom_meaning_find(&s.meaning, s.in->label, &s.in->category, &s.in->type);
        s.colour = choose_colour(s.meaning, taken);
        size_t place = 0;
        while (place < used.size() && !fits(used[place], s, g))
            place++;
        if (place == DICOM_SEG_FILES_MAX)
            return msa_fail(err, MSA_E_UNSUPPORTED, "segment %zu overlaps in more than %d layers", i + 1,
                            DICOM_SEG_FILES_MAX);
        if (place == used.size()) {
            used.emplace_back(g.slices, g.pixels);
            out.emplace_back();
        }
        occupy(used[place], s, g);
        out[place].segments.push_back(std::move(s));
    }
    for (planned_file &file : out)
        finish(file);
    if (out.empty())
        return msa_fail(err, MSA_E_NOT_FOUND, "no segment has a pixel, so there is nothing to write");
    return MSA_OK;
}
