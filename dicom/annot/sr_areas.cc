/* Areas and bodies in patient space (PS3.3 C.18.9). */
#include "dicom/annot/sr_tree.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace dicom
{
namespace
{

constexpr double FAR_MM = 1e6; /* no patient is that large */

const char *malformed(const Drawn &d)
{
    if (d.data.empty() || d.data.size() % 3 != 0)
        return "a region in space whose coordinates are not triples was left out";
    for (const double v : d.data)
        if (!(std::fabs(v) <= FAR_MM))
            return "a region with impossible coordinates was left out"; /* NaN too */
    if (d.place.series_uid.empty() && d.place.frame_of_reference_uid.empty())
        return "a region in space without a frame of reference was left out";
    return nullptr;
}

bool is_line(const Drawn &d)
{
    return d.type == "POLYLINE" &&
           (d.data.size() == 6 ||
            (d.data.size() == 9 && std::equal(d.data.begin(), d.data.begin() + 3, d.data.begin() + 6)));
}

bool is_area(const Drawn &d, SpaceArea::Form &form)
{
    const size_t points = d.data.size() / 3;
    form = d.type == "ELLIPSE"     ? SpaceArea::ELLIPSE
           : d.type == "ELLIPSOID" ? SpaceArea::ELLIPSOID
                                   : SpaceArea::POLYGON;
    if (form == SpaceArea::ELLIPSE) return points == 4;
    if (form == SpaceArea::ELLIPSOID) return points == 6;
    return (d.type == "POLYGON" || d.type == "POLYLINE") && points >= 3;
}

} // namespace

bool is_placed(const Drawn &d)
{
    return malformed(d) == nullptr;
}

std::vector<SpaceArea> areas_in_space(const SrTree &tree, const char **note)
{
    std::vector<SpaceArea> list;
    std::set<std::vector<double>> seen;
    const Drawn *half = nullptr; /* a coded axis that waits for the other one */
    const auto remark = [&](const char *what) {
        if (note != nullptr && (*note)[0] == '\0') *note = what;
    };
    const auto add = [&](SpaceArea::Form form, const Drawn &d, const std::vector<double> &mm) {
        std::vector<double> key = {double(form), double(d.subject->number)};
        key.insert(key.end(), mm.begin(), mm.end());
        if (seen.insert(std::move(key)).second) list.push_back({form, int32_t(list.size() + 1), &d, mm});
    };
    for (const Drawn &d : tree.drawn) {
        SpaceArea::Form form;
        if (!d.in_space) continue;
        const char *const wrong = malformed(d);
        if (wrong != nullptr) {
            remark(wrong);
        } else if (is_line(d)) {
            if (half != nullptr && d.axis && half->subject->number == d.subject->number) {
                std::vector<double> ends(half->data.begin(), half->data.begin() + 6);
                ends.insert(ends.end(), d.data.begin(), d.data.begin() + 6);
                add(SpaceArea::BOX_OVER, *half, ends);
                half = nullptr;
            } else {
                if (half != nullptr || !d.axis)
                    remark("a single line is a length, not a region; it was left out");
                half = d.axis ? &d : nullptr;
            }
        } else if (is_area(d, form)) {
            add(form, d, d.data);
        } else if (d.type != "POINT" && d.type != "MULTIPOINT") {
            remark("a region of an unknown or malformed graphic type was left out");
        }
    }
    if (half != nullptr) remark("a single line is a length, not a region; it was left out");
    return list;
}

} // namespace dicom
