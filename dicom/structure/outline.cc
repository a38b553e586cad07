#include "dicom/structure/outline.h"

#include <cstddef>

using dicom::structure::corner;
using dicom::structure::polygon;

namespace
{

/* Right, down, left, up: each is a right turn from the one before. */
const corner step[4] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
/* Of a corner that is left in that direction, the pixels ahead: to the right and to the left of the way. */
const corner ahead_right[4] = {{0, 0}, {-1, 0}, {-1, -1}, {0, -1}};
const corner ahead_left[4] = {{0, -1}, {0, 0}, {-1, 0}, {-1, -1}};

class tracer
{
  public:
    tracer(const uint8_t *plane, int32_t rows, int32_t cols)
        : plane_(plane), rows_(rows), cols_(cols),
          walked_(static_cast<size_t>(rows) * static_cast<size_t>(cols))
    {
    }

    std::vector<polygon> all()
    {
        std::vector<polygon> out;
        for (int32_t y = 0; y < rows_; y++)
            for (int32_t x = 0; x < cols_; x++)
                if (inside({x, y}) && !inside({x, y - 1}) && !walked_[index({x, y})])
                    out.push_back(walk({x, y}));
        return out;
    }

  private:
    const uint8_t *plane_;
    int32_t rows_, cols_;
    std::vector<bool> walked_; /* the upper edge of a pixel: every outline has some, and each lies on one */

    size_t index(corner p) const
    {
        return static_cast<size_t>(p.y) * static_cast<size_t>(cols_) + static_cast<size_t>(p.x);
    }
    bool inside(corner p) const
    {
        return p.x >= 0 && p.y >= 0 && p.x < cols_ && p.y < rows_ && plane_[index(p)];
    }
    bool inside(corner at, corner offset) const
    {
        return inside({at.x + offset.x, at.y + offset.y});
    }

    /* Along the upper edge of a pixel first, round and back to it. */
    polygon walk(corner start)
    {
        polygon out;
        corner at = start;
        int way = 0;
        do {
            if (way == 0) walked_[index(at)] = true;
            at = {at.x + step[way].x, at.y + step[way].y};
            const int before = way;
            if (!inside(at, ahead_right[way]))
                way = (way + 1) % 4;
            else if (inside(at, ahead_left[way]))
                way = (way + 3) % 4;
            if (way != before) out.push_back(at);
        } while (at.x != start.x || at.y != start.y || way != 0);
        return out;
    }
};

} // namespace

std::vector<polygon> dicom::structure::find_outlines(const uint8_t *plane, int32_t rows, int32_t cols)
{
    return tracer(plane, rows, cols).all();
}
