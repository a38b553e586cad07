/* What the phantom is made of. */
#include "tests/tools/phantom.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace phantom
{
namespace
{

constexpr double ENDLESS = 1e9; /* a cylinder */

/* xorshift32 (Marsaglia 2003): small, and the same everywhere, unlike std::normal_distribution. */
class Noise
{
  public:
    explicit Noise(uint32_t seed) : state_(seed * 2654435761u + 1u) {}
    double gaussian() /* sum of twelve uniforms */
    {
        double sum = -6;
        for (int i = 0; i < 12; i++)
            sum += uniform();
        return sum;
    }

  private:
    double uniform()
    {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        state_ ^= state_ << 5;
        if (state_ == 0) state_ = 1;
        return double(state_) / 4294967296.0;
    }
    uint32_t state_;
};

double normalised(int i, int n)
{
    return (2 * i + 1) / double(n) - 1;
}

} // namespace

const std::vector<Organ> &organs()
{
    static const std::vector<Organ> list = {
        {"Body", "", "", {0, 0, 0}, {0.88, 0.68, ENDLESS}, -95, 820},
        {"Muscle", "", "", {0, 0, 0}, {0.80, 0.60, ENDLESS}, 45, 260},
        {"Bowel", "", "", {0.12, -0.32, 0.1}, {0.22, 0.16, 0.8}, 15, 380},
        {"Liver", "10200004", "SCT", {-0.40, -0.08, 0.05}, {0.34, 0.40, 0.85}, 105, 470},
        {"Stomach", "", "", {0.34, -0.22, -0.1}, {0.20, 0.20, 0.5}, 5, 190},
        {"Spleen", "78961009", "SCT", {0.56, 0.10, 0.15}, {0.15, 0.24, 0.60}, 135, 340},
        {"Left kidney", "64033007", "SCT", {0.32, 0.30, -0.25}, {0.12, 0.15, 0.55}, 185, 610},
        {"Right kidney", "64033007", "SCT", {-0.32, 0.36, -0.30}, {0.12, 0.14, 0.55}, 185, 610},
        {"Spine", "", "", {0, 0.42, 0}, {0.11, 0.12, ENDLESS}, 420, 220},
        {"Canal", "", "", {0, 0.46, 0}, {0.04, 0.04, ENDLESS}, 20, 700},
        {"Aorta", "", "", {0.05, 0.22, 0}, {0.05, 0.06, ENDLESS}, 230, 60},
        {"Lesion", "52988006", "SCT", {-0.42, -0.12, 0.1}, {0.12, 0.15, 0.40}, 290, 1050},
    };
    return list;
}

static const Organ &organ_called(const std::string &label)
{
    return *std::find_if(organs().begin(), organs().end(),
                         [&](const Organ &one) { return one.label == label; });
}

bool inside(const Organ &o, double u, double v, double w)
{
    const double p[3] = {u, v, w};
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        const double d = (p[i] - o.center[i]) / o.radius[i];
        sum += d * d;
    }
    return sum <= 1;
}

std::vector<float> slice_values(const Options &o, int k)
{
    std::vector<float> values(size_t(o.rows) * size_t(o.cols));
    Noise noise(o.seed * 1000003u + uint32_t(k));
    const double w = normalised(k, o.slices);
    for (int r = 0; r < o.rows; r++)
        for (int c = 0; c < o.cols; c++) {
            const double u = normalised(c, o.cols), v = normalised(r, o.rows);
            double value = o.mr ? 8 : -1000;
            bool air = true;
            for (const Organ &organ : organs())
                if (inside(organ, u, v, w)) {
                    value = o.mr ? organ.mr : organ.hu;
                    air = false;
                }
            const double texture = std::sin(9 * u + 4 * w) * std::cos(8 * v - 3 * w);
            if (o.mr)
                value = value * (1 + 0.18 * u - 0.12 * v) + (air ? 2 : 14) * (texture + noise.gaussian());
            else
                value += (air ? 4 : 6) * texture + (air ? 6 : 12) * noise.gaussian();
            values[size_t(r) * size_t(o.cols) + size_t(c)] = float(value);
        }
    return values;
}

std::vector<uint8_t> true_mask(const Options &o, const std::string &label)
{
    const Organ &organ = organ_called(label);
    std::vector<uint8_t> mask;
    for (int k = 0; k < o.slices; k++) {
        if (k == o.gap) continue;
        for (int r = 0; r < o.rows; r++)
            for (int c = 0; c < o.cols; c++)
                mask.push_back(
                    inside(organ, normalised(c, o.cols), normalised(r, o.rows), normalised(k, o.slices)));
    }
    return mask;
}

std::vector<Box> true_boxes(const Options &o)
{
    std::vector<Box> boxes;
    for (const char *label : {"Lesion", "Spleen", "Left kidney", "Liver"}) {
        const Organ &organ = organ_called(label);
        Box best = {0, 0, 0, 0, -1, label};
        int most = 0;
        for (int k = 0, written = 0; k < o.slices; k++) {
            if (k == o.gap) continue;
            const int index = written++;
            int n = 0, c0 = std::numeric_limits<int>::max(), r0 = c0, c1 = -1, r1 = -1;
            for (int r = 0; r < o.rows; r++)
                for (int c = 0; c < o.cols; c++) {
                    if (!inside(organ, normalised(c, o.cols), normalised(r, o.rows), normalised(k, o.slices)))
                        continue;
                    n++;
                    c0 = std::min(c0, c);
                    c1 = std::max(c1, c);
                    r0 = std::min(r0, r);
                    r1 = std::max(r1, r);
                }
            if (n <= most) continue;
            most = n;
            best = {double(c0), double(r0), double(c1 + 1), double(r1 + 1), index, label};
        }
        if (most > 0) boxes.push_back(best);
    }
    return boxes;
}

} // namespace phantom
