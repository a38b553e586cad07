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

constexpr double TILT_RATIO = 0.02; /* in-plane shift for each mm along the normal: 1.1 degrees */

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
    char buffer[260];
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

void note_volumes(Stack &s, const Volumes &v)
{
    std::string by;
    for (const std::string &reason : v.reasons)
        by += (by.empty() ? "" : ", ") + reason;
    const char *which = v.voted ? "the one that the prompts lie on" : v.tie ? "the first" : "the largest";
    if (v.mixed_orientation) s.issues |= DICOM_ISSUE_MIXED_ORIENTATION;
    note(s, DICOM_ISSUE_SEVERAL_VOLUMES,
         sentence("the series holds %zu volumes, told apart by %.90s; %s (%zu %s) is used, %d %s left out",
                  v.list.size(), by.c_str(), which, s.order.size(), s.order.size() == 1 ? "slice" : "slices",
                  int(s.left_out), s.left_out == 1 ? "image is" : "images are"));
}

bool is_better(const Plane &other, const Plane &kept)
{
    if (other.votes != kept.votes) return other.votes > kept.votes;
    if (other.instance_number != kept.instance_number) return other.instance_number > kept.instance_number;
    return other.uid != kept.uid ? other.uid > kept.uid : other.frame > kept.frame;
}

void drop_equal_positions(Stack &s, const std::vector<Plane> &planes)
{
    const double same = same_position(s.position_mm);
    std::vector<size_t> order;
    std::vector<double> positions;
    int32_t dropped = 0;
    double first_mm = 0;
    bool voted = false;
    for (size_t i = 0; i < s.order.size(); i++) {
        if (order.empty() || s.position_mm[i] - positions.back() > same) {
            order.push_back(s.order[i]);
            positions.push_back(s.position_mm[i]);
            continue;
        }
        if (dropped++ == 0) first_mm = positions.back();
        const Plane &kept = planes[order.back()], &other = planes[s.order[i]];
        voted |= kept.votes != other.votes;
        if (!is_better(other, kept)) continue;
        order.back() = s.order[i];
        positions.back() = s.position_mm[i];
    }
    s.order = std::move(order);
    s.position_mm = std::move(positions);
    s.left_out += dropped;
    if (dropped == 0) return;
    const char *which = voted ? "the one with a prompt" : "the one with the higher instance number";
    note(s, DICOM_ISSUE_DUPLICATE_POSITION,
         dropped == 1 ? sentence("two slices lie at %.1f mm; %s is used", first_mm, which)
                      : sentence("%d slices lie where another one does, the first at %.1f mm; %s is used",
                                 dropped, first_mm, which));
}

void check_steps(Stack &s)
{
    const std::vector<double> &at = s.position_mm;
    s.step_mm = median_step(at);
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
    const Volumes volumes = split_volumes(planes);
    s.order = volumes.list[0];
    s.left_out = int32_t(volumes.distinct - s.order.size());
    const Plane &first = planes[s.order.front()];
    std::copy_n(first.row_dir, 3, s.row_dir);
    std::copy_n(first.col_dir, 3, s.col_dir);
    cross(s.row_dir, s.col_dir, s.normal);
    if (volumes.list.size() > 1) note_volumes(s, volumes);

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
