#include "dicom/read/geometry.h"

#include "dicom/series.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace dicom
{
namespace
{

constexpr double PARALLEL_COS =
    1 - 5e-6;                       /* 0.18 degrees: four written decimals pass, two scan planes do not */
constexpr double TILT_RATIO = 0.02; /* in-plane shift for each mm along the normal: 1.1 degrees */
constexpr double POSITION_NOISE_MM = 1e-3; /* of decimal strings */

double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

void cross(const double a[3], const double b[3], double out[3])
{
    for (int i = 0; i < 3; i++)
        out[i] = a[(i + 1) % 3] * b[(i + 2) % 3] - a[(i + 2) % 3] * b[(i + 1) % 3];
}

__attribute__((format(printf, 1, 2))) std::string sentence(const char *fmt, ...)
{
    char buffer[200];
    va_list args;
    va_start(args, fmt);
    (void)std::vsnprintf(buffer, sizeof buffer, fmt, args);
    va_end(args);
    return buffer;
}

void note(Stack &s, dicom_issue issue, std::string words)
{
    s.issues |= issue;
    s.sentences.push_back(std::move(words));
}

/* Planes without doubles, in an order that does not depend on how they came. */
std::vector<size_t> canonical(const std::vector<Plane> &planes)
{
    std::vector<size_t> list(planes.size());
    for (size_t i = 0; i < list.size(); i++)
        list[i] = i;
    std::sort(list.begin(), list.end(), [&](size_t a, size_t b) {
        const Plane &p = planes[a], &q = planes[b];
        if (p.instance_number != q.instance_number) return p.instance_number < q.instance_number;
        return p.uid != q.uid ? p.uid < q.uid : a < b;
    });
    list.erase(std::unique(list.begin(), list.end(),
                           [&](size_t a, size_t b) { return planes[a].uid == planes[b].uid; }),
               list.end());
    return list;
}

bool parallel(const Plane &a, const Plane &b)
{
    return dot(a.row_dir, b.row_dir) >= PARALLEL_COS && dot(a.col_dir, b.col_dir) >= PARALLEL_COS;
}

std::vector<size_t> largest_parallel_group(const std::vector<Plane> &planes, size_t &groups_found)
{
    std::vector<std::vector<size_t>> groups;
    for (const size_t i : canonical(planes)) {
        const auto mine = std::find_if(groups.begin(), groups.end(),
                                       [&](const auto &g) { return parallel(planes[g.front()], planes[i]); });
        if (mine == groups.end())
            groups.push_back({i});
        else
            mine->push_back(i);
    }
    groups_found = groups.size();
    /* max_element gives the first of equals: the group with the lowest instance number */
    return *std::max_element(groups.begin(), groups.end(),
                             [](const auto &a, const auto &b) { return a.size() < b.size(); });
}

double median(std::vector<double> values)
{
    if (values.empty()) return 0;
    const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/* Steps between neighbours, without those between slices at one position. */
std::vector<double> real_steps(const std::vector<double> &positions)
{
    std::vector<double> steps;
    for (size_t i = 1; i < positions.size(); i++)
        if (positions[i] - positions[i - 1] > POSITION_NOISE_MM)
            steps.push_back(positions[i] - positions[i - 1]);
    return steps;
}

void drop_equal_positions(Stack &s, const std::vector<Plane> &planes)
{
    const double same = std::max(0.01 * median(real_steps(s.position_mm)), POSITION_NOISE_MM);
    std::vector<size_t> order;
    std::vector<double> positions;
    int32_t dropped = 0;
    double first_mm = 0;
    for (size_t i = 0; i < s.order.size(); i++) {
        if (!order.empty() && s.position_mm[i] - positions.back() <= same) {
            if (dropped++ == 0) first_mm = positions.back();
            const Plane &kept = planes[order.back()], &other = planes[s.order[i]];
            const bool later = other.instance_number != kept.instance_number
                                   ? other.instance_number > kept.instance_number
                                   : other.uid > kept.uid;
            if (later) {
                order.back() = s.order[i];
                positions.back() = s.position_mm[i];
            }
            continue;
        }
        order.push_back(s.order[i]);
        positions.push_back(s.position_mm[i]);
    }
    s.order = std::move(order);
    s.position_mm = std::move(positions);
    s.left_out += dropped;
    if (dropped > 0)
        note(s, DICOM_ISSUE_DUPLICATE_POSITION,
             dropped == 1
                 ? sentence("two slices lie at %.1f mm; the one with the higher instance number is used",
                            first_mm)
                 : sentence("%d slices lie where another one does, the first at %.1f mm; the one with the "
                            "higher instance number is used",
                            dropped, first_mm));
}

void check_steps(Stack &s)
{
    const std::vector<double> &at = s.position_mm;
    s.step_mm = median(real_steps(at));
    if (at.size() < 2) {
        note(s, DICOM_ISSUE_SINGLE_SLICE, "the series is a single slice");
        return;
    }
    double least = at[1] - at[0], most = least;
    for (size_t i = 1; i < at.size(); i++) {
        const double step = at[i] - at[i - 1];
        least = std::min(least, step);
        most = std::max(most, step);
        if (step <= 1.5 * s.step_mm) continue;
        const long missing = std::max(1L, std::lround(step / s.step_mm) - 1);
        note(s, DICOM_ISSUE_GAP,
             missing == 1
                 ? sentence("1 slice is missing between %.1f mm and %.1f mm", at[i - 1], at[i])
                 : sentence("%ld slices are missing between %.1f mm and %.1f mm", missing, at[i - 1], at[i]));
    }
    if ((s.issues & DICOM_ISSUE_GAP) == 0 && (most > 1.05 * s.step_mm || least < 0.95 * s.step_mm))
        note(s, DICOM_ISSUE_UNEVEN,
             sentence("the distance between slices varies from %.2f mm to %.2f mm", least, most));
}

void check_tilt(Stack &s, const std::vector<Plane> &planes)
{
    double worst = 0;
    for (size_t i = 1; i < s.order.size(); i++) {
        const double *a = planes[s.order[i - 1]].origin_mm, *b = planes[s.order[i]].origin_mm;
        const double d[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
        const double shift = std::hypot(dot(d, s.row_dir), dot(d, s.col_dir));
        const double step = s.position_mm[i] - s.position_mm[i - 1];
        if (shift > std::max(TILT_RATIO * step, 0.02)) worst = std::max(worst, shift);
    }
    if (worst > 0)
        note(s, DICOM_ISSUE_TILT,
             sentence("neighbouring slices are shifted in plane by up to %.2f mm, as with a tilted gantry",
                      worst));
}

} // namespace

Stack build_stack(const std::vector<Plane> &planes)
{
    Stack s;
    size_t groups = 0;
    s.order = largest_parallel_group(planes, groups);
    const size_t distinct = canonical(planes).size();
    s.left_out = int32_t(distinct - s.order.size());
    const Plane &first = planes[s.order.front()];
    std::copy_n(first.row_dir, 3, s.row_dir);
    std::copy_n(first.col_dir, 3, s.col_dir);
    cross(s.row_dir, s.col_dir, s.normal);
    if (groups > 1)
        note(s, DICOM_ISSUE_MIXED_ORIENTATION,
             sentence("the slices have %zu orientations; the %zu of the largest parallel group are used, %d "
                      "left out",
                      groups, s.order.size(), int(s.left_out)));

    const auto position = [&](size_t i) { return dot(planes[i].origin_mm, s.normal); };
    /* stable: what is equal keeps the canonical order */
    std::stable_sort(s.order.begin(), s.order.end(),
                     [&](size_t a, size_t b) { return position(a) < position(b); });
    for (const size_t i : s.order)
        s.position_mm.push_back(position(i));
    drop_equal_positions(s, planes);
    check_steps(s);
    check_tilt(s, planes);
    return s;
}

} // namespace dicom
