/* Which of a series' images make a volume together. */
#include "dicom/read/geometry.h"

#include "dicom/read/values.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

namespace dicom
{

const char *const trait_names[] = {"time point",   "b-value",         "echo time", "inversion time",
                                   "image type",   "tube voltage",    "kernel",    "acquisition number",
                                   "trigger time", "acquisition time"};
const size_t n_traits = sizeof trait_names / sizeof *trait_names;
static_assert(sizeof trait_names / sizeof *trait_names == TRAITS, "a name for each");

namespace
{

constexpr double PARALLEL_COS =
    1 - 5e-6; /* 0.18 degrees: four written decimals pass, two scan planes do not */
constexpr double POSITION_NOISE_MM = 1e-3; /* of decimal strings */

using Members = std::vector<size_t>;

double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

bool same_plane(const Plane &p, const Plane &q)
{
    return p.uid == q.uid && p.frame == q.frame;
}

/* Planes without doubles, in an order that does not depend on how they came. */
Members canonical(const std::vector<Plane> &planes)
{
    Members list(planes.size());
    std::iota(list.begin(), list.end(), size_t{0});
    std::sort(list.begin(), list.end(), [&](size_t a, size_t b) {
        const Plane &p = planes[a], &q = planes[b];
        if (p.instance_number != q.instance_number) return p.instance_number < q.instance_number;
        if (p.uid != q.uid) return p.uid < q.uid;
        return p.frame != q.frame ? p.frame < q.frame : a < b;
    });
    list.erase(std::unique(list.begin(), list.end(),
                           [&](size_t a, size_t b) { return same_plane(planes[a], planes[b]); }),
               list.end());
    return list;
}

/* What keeps two planes from being slices of one volume; NULL when nothing does. */
const char *difference(const Plane &a, const Plane &b)
{
    if (a.frame_of_reference != b.frame_of_reference) return "frame of reference";
    if (dot(a.row_dir, b.row_dir) < PARALLEL_COS || dot(a.col_dir, b.col_dir) < PARALLEL_COS)
        return "orientation";
    if (a.rows != b.rows || a.cols != b.cols) return "size";
    for (int k = 0; k < 2; k++)
        if (std::fabs(a.spacing_mm[k] - b.spacing_mm[k]) > 1e-3 * a.spacing_mm[k]) return "pixel spacing";
    const bool named = !a.stack_id.empty() && !b.stack_id.empty();
    return named && a.stack_id != b.stack_id ? "stack" : nullptr;
}

class Splitter
{
  public:
    explicit Splitter(const std::vector<Plane> &planes) : planes_(planes) {}

    Volumes run()
    {
        const Members all = canonical(planes_);
        out_.distinct = all.size();
        for (const Members &group : by_place(all))
            by_trait(group);
        std::stable_sort(out_.list.begin(), out_.list.end(), [&](const Members &a, const Members &b) {
            if (votes(a) != votes(b)) return votes(a) > votes(b);
            return a.size() != b.size() ? a.size() > b.size() : less(a.front(), b.front());
        });
        out_.voted = votes(out_.list[0]) > 0;
        out_.tie = out_.list.size() > 1 && out_.list[0].size() == out_.list[1].size();
        return std::move(out_);
    }

  private:
    int64_t votes(const Members &m) const
    {
        int64_t sum = 0;
        for (const size_t i : m)
            sum += planes_[i].votes;
        return sum;
    }
    bool less(size_t a, size_t b) const
    {
        const Plane &p = planes_[a], &q = planes_[b];
        if (p.instance_number != q.instance_number) return p.instance_number < q.instance_number;
        return p.uid != q.uid ? p.uid < q.uid : p.frame < q.frame;
    }
    void reason(const char *name)
    {
        if (std::find(out_.reasons.begin(), out_.reasons.end(), name) == out_.reasons.end())
            out_.reasons.emplace_back(name);
    }
    const std::string &trait(size_t plane, size_t t) const
    {
        static const std::string none;
        return t < planes_[plane].traits.size() ? planes_[plane].traits[t] : none;
    }
    std::vector<Members> by_place(const Members &all);
    std::vector<Members> slots(const Members &members) const;
    bool by_value(const Members &members, const std::vector<Members> &slots, size_t most);
    void by_rank(const std::vector<Members> &slots, size_t most);
    void by_trait(const Members &members);

    const std::vector<Plane> &planes_;
    Volumes out_;
};

std::vector<Members> Splitter::by_place(const Members &all)
{
    std::vector<Members> groups;
    for (const size_t i : all) {
        const auto mine = std::find_if(groups.begin(), groups.end(), [&](const Members &g) {
            return difference(planes_[g.front()], planes_[i]) == nullptr;
        });
        if (mine != groups.end()) {
            mine->push_back(i);
            continue;
        }
        if (!groups.empty()) {
            const char *why = difference(planes_[groups[0].front()], planes_[i]);
            out_.mixed_orientation |= std::strcmp(why, "orientation") == 0;
            reason(why);
        }
        groups.push_back({i});
    }
    return groups;
}

/* The members at each position along the normal; within one in canonical order. */
std::vector<Members> Splitter::slots(const Members &members) const
{
    const Plane &first = planes_[members.front()];
    Members sorted = members;
    const auto position = [&](size_t i) { return along_normal(first, planes_[i].origin_mm); };
    std::stable_sort(sorted.begin(), sorted.end(),
                     [&](size_t a, size_t b) { return position(a) < position(b); });
    std::vector<double> positions;
    for (const size_t i : sorted)
        positions.push_back(position(i));
    const double same = same_position(positions);
    std::vector<Members> list;
    double at = 0;
    for (size_t k = 0; k < sorted.size(); k++) {
        if (list.empty() || positions[k] - at > same) {
            list.emplace_back();
            at = positions[k];
        }
        list.back().push_back(sorted[k]);
    }
    for (Members &slot : list)
        std::sort(slot.begin(), slot.end(), [&](size_t a, size_t b) { return less(a, b); });
    return list;
}

/* By the first trait whose values tell images at one position apart, and which has no more values than a
 * position has images: a time that differs from slice to slice is none. */
bool Splitter::by_value(const Members &members, const std::vector<Members> &slots, size_t most)
{
    for (size_t t = 0; t < n_traits; t++) {
        std::map<std::string, Members> groups;
        for (const size_t i : members)
            groups[trait(i, t)].push_back(i);
        if (groups.size() < 2 || groups.size() > most) continue;
        size_t shared = 0, told_apart = 0;
        for (const Members &slot : slots) {
            std::set<std::string> values;
            for (const size_t i : slot)
                values.insert(trait(i, t));
            shared += slot.size() > 1;
            told_apart += values.size() > 1;
        }
        if (2 * told_apart <= shared) continue;
        reason(trait_names[t]);
        for (const auto &[value, group] : groups)
            by_trait(group);
        return true;
    }
    return false;
}

/* Nothing has the same few values everywhere: the images at each position are counted through, by a time that
 * differs within every position, else by instance number. */
void Splitter::by_rank(const std::vector<Members> &slots, size_t most)
{
    std::vector<Members> sorted = slots;
    const char *name = "instance number";
    for (const size_t t : {size_t(TRAIT_TRIGGER), size_t(TRAIT_ACQUISITION_TIME)}) {
        bool good = true;
        std::vector<Members> trial = slots;
        for (Members &slot : trial) {
            std::map<double, size_t> by_time;
            std::vector<double> number;
            for (const size_t i : slot) {
                good = good && parse_numbers(trait(i, t), number);
                if (good) by_time[number.back()] = i;
            }
            good = good && by_time.size() == slot.size();
            if (!good) break;
            slot.clear();
            for (const auto &[time, i] : by_time)
                slot.push_back(i);
        }
        if (!good) continue;
        sorted = std::move(trial);
        name = trait_names[t];
        break;
    }
    reason(name);
    for (size_t k = 0; k < most; k++) {
        Members volume;
        for (const Members &slot : sorted)
            if (k < slot.size()) volume.push_back(slot[k]);
        std::sort(volume.begin(), volume.end(), [&](size_t a, size_t b) { return less(a, b); });
        out_.list.push_back(std::move(volume));
    }
}

void Splitter::by_trait(const Members &members)
{
    const std::vector<Members> at = slots(members);
    size_t most = 1, shared = 0;
    for (const Members &slot : at) {
        most = std::max(most, slot.size());
        shared += slot.size() > 1;
    }
    /* A few positions with two images are repeats of single slices, which geometry.cc deals with. */
    if (2 * shared < at.size() || shared == 0)
        out_.list.push_back(members);
    else if (!by_value(members, at, most))
        by_rank(at, most);
}

} // namespace

double along_normal(const Plane &p, const double o[3])
{
    const double *r = p.row_dir, *c = p.col_dir;
    return o[0] * (r[1] * c[2] - r[2] * c[1]) + o[1] * (r[2] * c[0] - r[0] * c[2]) +
           o[2] * (r[0] * c[1] - r[1] * c[0]);
}

double median_step(const std::vector<double> &positions)
{
    std::vector<double> steps;
    for (size_t i = 1; i < positions.size(); i++)
        if (positions[i] - positions[i - 1] > POSITION_NOISE_MM)
            steps.push_back(positions[i] - positions[i - 1]);
    if (steps.empty()) return 0;
    const auto middle = steps.begin() + std::ptrdiff_t(steps.size() / 2);
    std::nth_element(steps.begin(), middle, steps.end());
    return *middle;
}

double same_position(const std::vector<double> &positions)
{
    return std::max(0.01 * median_step(positions), POSITION_NOISE_MM);
}

Volumes split_volumes(const std::vector<Plane> &planes)
{
    return Splitter(planes).run();
}

} // namespace dicom
