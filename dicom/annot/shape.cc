#include "dicom/annot/shape.h"

#include <algorithm>
#include <cmath>

namespace dicom
{
namespace
{

Shape nothing(const char *note)
{
    Shape s;
    s.note = note;
    return s;
}

Shape box(double x0, double y0, double x1, double y1)
{
    Shape s;
    s.kind = Shape::BOX;
    s.x0 = std::min(x0, x1);
    s.x1 = std::max(x0, x1);
    s.y0 = std::min(y0, y1);
    s.y1 = std::max(y0, y1);
    if (!(s.x1 > s.x0 && s.y1 > s.y0)) return nothing("a region without area was left out");
    return s;
}

Shape box_around(const std::vector<Point> &points)
{
    const auto by_x = [](const Point &a, const Point &b) { return a.x < b.x; };
    const auto by_y = [](const Point &a, const Point &b) { return a.y < b.y; };
    const auto x = std::minmax_element(points.begin(), points.end(), by_x);
    const auto y = std::minmax_element(points.begin(), points.end(), by_y);
    return box(x.first->x, y.first->y, x.second->x, y.second->y);
}

/* Half-width of an ellipse with half-axes a and b at angle t: sqrt(a^2 cos^2 t + b^2 sin^2 t), in x and in y.
 */
Shape box_of_ellipse(const std::vector<Point> &p)
{
    const Point major = {(p[1].x - p[0].x) / 2, (p[1].y - p[0].y) / 2};
    const Point minor = {(p[3].x - p[2].x) / 2, (p[3].y - p[2].y) / 2};
    const double cx = (p[0].x + p[1].x) / 2, cy = (p[0].y + p[1].y) / 2;
    const double half_x = std::hypot(major.x, minor.x), half_y = std::hypot(major.y, minor.y);
    return box(cx - half_x, cy - half_y, cx + half_x, cy + half_y);
}

double cross(const Point &o, const Point &a, const Point &b)
{
    return (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
}

} // namespace

Shape make_shape(const std::string &type, const std::vector<double> &data)
{
    if (data.empty() || data.size() % 2 != 0)
        return nothing("a region with an odd number of coordinates was left out");
    std::vector<Point> p;
    for (size_t i = 0; i < data.size(); i += 2) {
        if (!(std::fabs(data[i]) <= 1e6 && std::fabs(data[i + 1]) <= 1e6)) /* catches NaN as well */
            return nothing("a region with impossible coordinates was left out");
        p.push_back({data[i], data[i + 1]});
    }
    Shape s;
    if (type == "POINT" || type == "MULTIPOINT") {
        s.kind = Shape::POINTS;
        s.points = p;
        if (type == "POINT") s.points.resize(1);
        return s;
    }
    if (type == "CIRCLE" && p.size() == 2) {
        const double r = std::hypot(p[1].x - p[0].x, p[1].y - p[0].y);
        return box(p[0].x - r, p[0].y - r, p[0].x + r, p[0].y + r);
    }
    if (type == "ELLIPSE" && p.size() == 4) return box_of_ellipse(p);
    if (type != "POLYLINE") return nothing("a region of an unknown or malformed graphic type was left out");
    if (p.size() == 1) return nothing("a region without area was left out");
    if (p.size() == 2 || (p.size() == 3 && p[0].x == p[2].x && p[0].y == p[2].y)) {
        s.kind = Shape::LINE;
        p.resize(2);
        s.points = p;
        return s;
    }
    return box_around(p);
}

bool lines_cross(const Shape &a, const Shape &b)
{
    const Point &p = a.points[0], &q = a.points[1], &r = b.points[0], &t = b.points[1];
    const double d1 = cross(p, q, r), d2 = cross(p, q, t), d3 = cross(r, t, p), d4 = cross(r, t, q);
    if (d1 == 0 && d2 == 0) return false; /* on one straight line: not two axes */
    return d1 * d2 <= 0 && d3 * d4 <= 0;
}

Shape box_over(const Shape &a, const Shape &b)
{
    return box_around({a.points[0], a.points[1], b.points[0], b.points[1]});
}

} // namespace dicom
