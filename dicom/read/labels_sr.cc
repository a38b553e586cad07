/* Areas and bodies that a structured report draws in patient space (SCOORD3D), as contours on the slices. */
#include "dicom/annot/charset.h"
#include "dicom/annot/sr_tree.h"
#include "dicom/read/labels_impl.h"
#include "dicom/read/values.h"

#include <algorithm>
#include <cmath>

namespace dicom
{
namespace
{

constexpr int CORNERS = 64; /* of an ellipse: half a tenth of a percent of its area is lost */
constexpr size_t CUTS_MAX = size_t{1} << 16; /* of ellipsoids with slices, each CORNERS corners */
constexpr double PI = 3.14159265358979323846;

struct Vec {
    double v[3];
};

Vec at(const std::vector<double> &mm, size_t i)
{
    return {{mm[3 * i], mm[3 * i + 1], mm[3 * i + 2]}};
}
Vec operator+(const Vec &a, const Vec &b)
{
    return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2]}};
}
Vec operator*(double s, const Vec &a)
{
    return {{s * a.v[0], s * a.v[1], s * a.v[2]}};
}
double dot(const Vec &a, const double b[3])
{
    return a.v[0] * b[0] + a.v[1] * b[1] + a.v[2] * b[2];
}
Vec cross(const Vec &a, const Vec &b)
{
    return {{a.v[1] * b.v[2] - a.v[2] * b.v[1], a.v[2] * b.v[0] - a.v[0] * b.v[2],
             a.v[0] * b.v[1] - a.v[1] * b.v[0]}};
}
double length(const Vec &a)
{
    return std::sqrt(dot(a, a.v));
}

/* Half of the axis between points 2 i and 2 i + 1. */
Vec half_axis(const std::vector<double> &mm, size_t i)
{
    return 0.5 * (at(mm, 2 * i + 1) + -1.0 * at(mm, 2 * i));
}

std::vector<Vec> ellipse(const Vec &centre, const Vec &a, const Vec &b)
{
    std::vector<Vec> corners;
    for (int i = 0; i < CORNERS; i++)
        corners.push_back(centre + std::cos(2 * PI * i / CORNERS) * a + std::sin(2 * PI * i / CORNERS) * b);
    return corners;
}

class Layer
{
  public:
    Layer(dicom_masks &out, msa_error *err) : out_(out), s_(out.slices), err_(err) {}
    msa_status lay(const SpaceArea &area);
    bool is_ours(const Drawn &d) const;
    int64_t oblique() const
    {
        return oblique_;
    }

  private:
    void lay_polygon(const std::vector<Vec> &corners, bool as_box);
    msa_status lay_ellipsoid(const std::vector<double> &mm);
    void put(int32_t slice, const std::vector<Vec> &corners, bool as_box);

    dicom_masks &out_;
    const Slices &s_;
    msa_error *err_;
    int64_t oblique_ = 0;
    size_t cuts_ = 0;
};

/* The series that the report says it is drawn on, else the frame of reference. */
bool Layer::is_ours(const Drawn &d) const
{
    if (!d.place.series_uid.empty()) return d.place.series_uid == s_.series_uid;
    if (s_.find(d.image.sop_instance_uid, 0) >= 0) return true;
    return !d.place.frame_of_reference_uid.empty() &&
           d.place.frame_of_reference_uid == s_.frame_of_reference_uid;
}

void Layer::put(int32_t slice, const std::vector<Vec> &corners, bool as_box)
{
    Contour c;
    c.label = out_.list.size() - 1;
    c.slice = slice;
    c.x.resize(corners.size());
    c.y.resize(corners.size());
    for (size_t i = 0; i < corners.size(); i++)
        s_.to_pixels(slice, corners[i].v, c.x[i], c.y[i]);
    if (as_box) {
        const auto x = std::minmax_element(c.x.begin(), c.x.end()),
                   y = std::minmax_element(c.y.begin(), c.y.end());
        const double x0 = *x.first, x1 = *x.second, y0 = *y.first, y1 = *y.second;
        c.x = {x0, x1, x1, x0};
        c.y = {y0, y0, y1, y1};
    }
    out_.contours.push_back(std::move(c));
}

/* On the nearest slice within half a step: whoever draws in space does not always draw on a slice. */
void Layer::lay_polygon(const std::vector<Vec> &corners, bool as_box)
{
    double least = INFINITY, most = -INFINITY;
    for (const Vec &p : corners) {
        least = std::min(least, dot(p, s_.normal));
        most = std::max(most, dot(p, s_.normal));
    }
    const int32_t slice = s_.near((least + most) / 2);
    const bool oblique = most - least > std::max(0.2 * s_.step_mm, 0.02);
    if (oblique) oblique_++;
    if (oblique || slice < 0)
        out_.list.back().planes_outside++;
    else
        put(slice, corners, as_box);
}

/* In the space where the ellipsoid is the unit ball, a slice is the plane u . m = h, and cuts a circle out.
 */
msa_status Layer::lay_ellipsoid(const std::vector<double> &mm)
{
    const Vec centre = 0.5 * (at(mm, 0) + at(mm, 1));
    const Vec a[3] = {half_axis(mm, 0), half_axis(mm, 1), half_axis(mm, 2)};
    const Vec m = {{dot(a[0], s_.normal), dot(a[1], s_.normal), dot(a[2], s_.normal)}};
    const double reach = length(m), middle = dot(centre, s_.normal);
    if (!(length(a[0]) > 1e-6 && length(a[1]) > 1e-6 && length(a[2]) > 1e-6 && reach > 1e-6)) {
        out_.list.back().planes_outside++;
        return MSA_OK;
    }
    const Vec w = 1 / reach * m;
    const Vec side = std::fabs(w.v[0]) < 0.6 ? Vec{{1, 0, 0}} : Vec{{0, 1, 0}};
    const Vec c = cross(w, side), e1 = 1 / length(c) * c, e2 = cross(w, e1);
    const auto out_of_ball = [&](const Vec &u) { return u.v[0] * a[0] + (u.v[1] * a[1] + u.v[2] * a[2]); };
    const size_t before = out_.contours.size();
    for (size_t k = 0; k < s_.list.size(); k++) {
        const double t = (s_.list[k].position_mm - middle) / reach;
        if (!(std::fabs(t) < 1)) continue;
        if (cuts_++ == CUTS_MAX)
            return msa_fail(err_, MSA_E_UNSUPPORTED, "the report's ellipsoids lie on more than %zu slices",
                            CUTS_MAX);
        const double r = std::sqrt(1 - t * t);
        put(int32_t(k), ellipse(centre + out_of_ball(t * w), r * out_of_ball(e1), r * out_of_ball(e2)),
            false);
    }
    /* so flat that it fits between two slices */
    if (out_.contours.size() == before) lay_polygon(ellipse(centre, out_of_ball(e1), out_of_ball(e2)), false);
    return MSA_OK;
}

msa_status Layer::lay(const SpaceArea &area)
{
    const std::vector<double> &mm = area.mm;
    if (area.form == SpaceArea::ELLIPSOID) return lay_ellipsoid(mm);
    if (area.form == SpaceArea::ELLIPSE) {
        lay_polygon(ellipse(0.5 * (at(mm, 0) + at(mm, 1)), half_axis(mm, 0), half_axis(mm, 1)), false);
        return MSA_OK;
    }
    std::vector<Vec> corners;
    for (size_t i = 0; 3 * i < mm.size(); i++)
        corners.push_back(at(mm, i));
    lay_polygon(corners, area.form == SpaceArea::BOX_OVER);
    return MSA_OK;
}

dicom_mask mask_of(const SpaceArea &area)
{
    const Subject &s = *area.drawn->subject;
    dicom_mask m{};
    m.number = area.number;
    m.first_slice = m.last_slice = -1;
    copy(m.name, sizeof m.name, cut_utf8(s.label, 64, sizeof m.name));
    copy(m.tracking_id, sizeof m.tracking_id, cut_utf8(s.tracking_id, 64, sizeof m.tracking_id));
    copy(m.tracking_uid, sizeof m.tracking_uid, s.tracking_uid);
    m.category = s.category;
    m.type = s.type;
    m.site = s.site;
    return m;
}

} // namespace

msa_status read_sr_labels(dicom_masks &out, Reference &ref, DcmItem &dataset, msa_error *err)
{
    SrTree tree;
    Layer layer(out, err);
    MSA_TRY(read_sr_tree(tree, dataset, err));
    const std::vector<SpaceArea> areas = areas_in_space(tree, nullptr);
    if (areas.empty()) return msa_fail(err, MSA_E_NOT_FOUND, "the report draws no area in patient space");
    ref.names_images = true;
    for (const SpaceArea &area : areas) {
        if (!layer.is_ours(*area.drawn)) continue;
        ref.names_ours = true;
        out.list.push_back(mask_of(area));
        MSA_TRY(layer.lay(area));
    }
    if (layer.oblique() > 0)
        out.note = std::to_string(layer.oblique()) + (layer.oblique() == 1 ? " region is" : " regions are") +
                   " oblique to the slices";
    return MSA_OK;
}

} // namespace dicom
