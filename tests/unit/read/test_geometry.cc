#include "dicom/read/geometry.h"
#include "dicom/series.h"
#include "tests/unit/read/support.h"

#include <cmath>
#include <random>

using dicom::build_stack;
using dicom::Plane;
using dicom::Stack;

namespace
{

Plane plane(int number, double x, double y, double z)
{
    Plane p;
    p.uid = "1.2." + std::to_string(number);
    p.instance_number = number;
    p.origin_mm[0] = x;
    p.origin_mm[1] = y;
    p.origin_mm[2] = z;
    p.row_dir[0] = p.col_dir[1] = 1;
    return p;
}

std::vector<Plane> axial(const std::vector<double> &z)
{
    std::vector<Plane> list;
    for (size_t i = 0; i < z.size(); i++)
        list.push_back(plane(int(i) + 1, 0, 0, z[i]));
    return list;
}

void assert_text(const Stack &s, const char *part)
{
    std::string all;
    for (const std::string &one : s.sentences)
        all += one + "; ";
    assert_says(all.c_str(), part);
}

void even_stack(void **)
{
    const Stack s = build_stack(axial({20, 10, 0, -10, -20}));
    const std::vector<size_t> want = {4, 3, 2, 1, 0};
    assert_true(s.order == want);
    assert_true(s.step_mm == 10 && s.normal[2] == 1);
    assert_int_equal(s.issues, 0);
    assert_true(s.sentences.empty());
}

void gap(void **)
{
    const Stack s = build_stack(axial({30, 35, 40, 45, 60, 65}));
    assert_int_equal(s.issues, DICOM_ISSUE_GAP);
    assert_true(s.step_mm == 5);
    assert_string_equal(s.sentences[0].c_str(), "2 slices are missing between 45.0 mm and 60.0 mm");
    assert_text(build_stack(axial({0, 5, 10, 20, 25})), "1 slice is missing between 10.0 mm and 20.0 mm");
    assert_int_equal(build_stack(axial({0, 5, 10, 17.4, 22})).issues & DICOM_ISSUE_GAP, 0);
    assert_int_equal(build_stack(axial({0, 5, 10, 17.6, 22})).issues & DICOM_ISSUE_GAP, DICOM_ISSUE_GAP);
}

void uneven(void **)
{
    assert_int_equal(build_stack(axial({0, 5, 10.2, 15.2, 20.2})).issues, 0); /* 4 percent */
    const Stack s = build_stack(axial({0, 5, 10, 15.3, 20.3}));
    assert_int_equal(s.issues, DICOM_ISSUE_UNEVEN);
    assert_text(s, "varies from 5.00 mm to 5.30 mm");
}

void one_slice(void **)
{
    const Stack s = build_stack(axial({3}));
    assert_int_equal(s.issues, DICOM_ISSUE_SINGLE_SLICE);
    assert_true(s.step_mm == 0 && s.order.size() == 1);
}

/* Two phases over the same positions: of each pair the higher instance number stays. */
void duplicates(void **)
{
    const Stack s = build_stack(axial({0, 5, 10, 15, 0, 5.04, 10, 15}));
    assert_int_equal(s.issues, DICOM_ISSUE_DUPLICATE_POSITION);
    const std::vector<size_t> want = {4, 5, 6, 7};
    assert_true(s.order == want);
    assert_int_equal(s.left_out, 4);
    assert_true(std::fabs(s.step_mm - 5) < 0.05);
    assert_int_equal(build_stack(axial({0, 5, 10, 10.06, 15})).issues & DICOM_ISSUE_DUPLICATE_POSITION, 0);
}

/* The same instance from two folders is no duplicate position. */
void same_instance_twice(void **)
{
    std::vector<Plane> list = axial({0, 5, 10});
    list.push_back(list[1]);
    const Stack s = build_stack(list);
    assert_int_equal(s.order.size(), 3);
    assert_int_equal(s.issues, 0);
    assert_int_equal(s.left_out, 0);
}

void mixed(void **)
{
    std::vector<Plane> list = axial({0, 5, 10});
    Plane coronal = plane(9, 0, 0, 0);
    coronal.col_dir[1] = 0;
    coronal.col_dir[2] = -1;
    list.insert(list.begin(), coronal);
    const Stack s = build_stack(list);
    assert_int_equal(s.issues, DICOM_ISSUE_MIXED_ORIENTATION);
    assert_int_equal(s.order.size(), 3);
    assert_int_equal(s.left_out, 1);
    assert_text(s, "2 orientations");
    assert_true(std::find(s.order.begin(), s.order.end(), size_t{0}) == s.order.end());
}

void rounding_is_not_mixed(void **)
{
    std::vector<Plane> list = axial({0, 5, 10});
    list[1].row_dir[1] = 1e-4;
    list[2].col_dir[0] = -1e-4;
    assert_int_equal(build_stack(list).issues, 0);
}

void tilt(void **)
{
    std::vector<Plane> list = axial({0, 5, 10});
    list[1].origin_mm[1] = 1.5;
    list[2].origin_mm[1] = 3.0;
    const Stack s = build_stack(list);
    assert_int_equal(s.issues, DICOM_ISSUE_TILT);
    assert_text(s, "up to 1.50 mm");
    list[1].origin_mm[1] = 0.01;
    list[2].origin_mm[1] = 0.02;
    assert_int_equal(build_stack(list).issues, 0);
}

/* Whatever the order of the files, the stack is the same: sorted UIDs, issues and sentences. */
void permutations(void **)
{
    const unsigned seed = 20240517;
    std::mt19937 random(seed);
    for (int round = 0; round < 200; round++) {
        std::vector<Plane> list;
        const int n = 1 + int(random() % 12);
        for (int i = 0; i < n; i++) {
            Plane p = plane(1 + int(random() % 9), double(random() % 3), 0, 5.0 * double(random() % 14));
            p.uid = "1.2." + std::to_string(random() % 40);
            if (random() % 5 == 0) {
                p.col_dir[1] = 0;
                p.col_dir[2] = -1;
            }
            const bool known =
                std::any_of(list.begin(), list.end(), [&](const Plane &q) { return q.uid == p.uid; });
            if (!known) list.push_back(p);
        }
        const Stack first = build_stack(list);
        for (size_t i = 1; i < first.position_mm.size(); i++)
            assert_true(first.position_mm[i] > first.position_mm[i - 1]);
        std::vector<Plane> other = list;
        std::shuffle(other.begin(), other.end(), random);
        const Stack second = build_stack(other);
        assert_int_equal(first.order.size(), second.order.size());
        for (size_t i = 0; i < first.order.size(); i++)
            if (list[first.order[i]].uid != other[second.order[i]].uid)
                fail_msg("seed %u, round %d: slice %zu differs", seed, round, i);
        assert_int_equal(first.issues, second.issues);
        assert_int_equal(first.left_out, second.left_out);
        assert_true(first.sentences == second.sentences);
        assert_int_equal(first.left_out + int(first.order.size()), int(list.size()));
    }
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(even_stack), cmocka_unit_test(gap),
                                cmocka_unit_test(uneven),     cmocka_unit_test(one_slice),
                                cmocka_unit_test(duplicates), cmocka_unit_test(same_instance_twice),
                                cmocka_unit_test(mixed),      cmocka_unit_test(rounding_is_not_mixed),
                                cmocka_unit_test(tilt),       cmocka_unit_test(permutations)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
