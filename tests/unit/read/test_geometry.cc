#include "dicom/read/geometry.h"
#include "dicom/series.h"
#include "tests/unit/read/support.h"

#include <cmath>
#include <functional>
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

/* A few slices were scanned again: of each pair the higher instance number stays. */
void duplicates(void **)
{
    const Stack s = build_stack(axial({0, 5, 10, 15, 20, 5.04}));
    assert_int_equal(s.issues, DICOM_ISSUE_DUPLICATE_POSITION);
    const std::vector<size_t> want = {0, 5, 2, 3, 4};
    assert_true(s.order == want);
    assert_int_equal(s.left_out, 1);
    assert_true(std::fabs(s.step_mm - 5) < 0.05);
    assert_int_equal(build_stack(axial({0, 5, 10, 10.06, 15})).issues & DICOM_ISSUE_DUPLICATE_POSITION, 0);
    std::vector<Plane> prompted = axial({0, 5, 10, 15, 20, 5.04});
    prompted[1].votes = 1; /* someone drew on the first try */
    assert_true(build_stack(prompted).order[1] == 1);
    assert_text(build_stack(prompted), "the one with a prompt");
}

/* `times` images at each of `slices` positions, position after position, or volume after volume. */
std::vector<Plane> repeated(int slices, int times, bool by_position)
{
    std::vector<Plane> list;
    for (int i = 0; i < slices * times; i++) {
        const int slice = by_position ? i / times : i % slices;
        list.push_back(plane(i + 1, 0, 0, 5.0 * slice));
        list.back().traits.resize(dicom::n_traits);
    }
    return list;
}

int time_of(const std::vector<Plane> &list, size_t i, int slices, int times, bool by_position)
{
    const int n = list[i].instance_number - 1;
    return by_position ? n % times : n / slices;
}

/* Every position holds the same times: told apart by what differs, whatever the order of acquisition. */
void time_points(void **)
{
    const struct {
        dicom::Trait trait;
        bool varies_by_slice;
        const char *name;
    } table[] = {{dicom::TRAIT_TIME_POINT, false, "time point"},
                 {dicom::TRAIT_B_VALUE, false, "b-value"},
                 {dicom::TRAIT_ECHO, false, "echo time"},
                 {dicom::TRAIT_IMAGE_TYPE, false, "image type"},
                 {dicom::TRAIT_TRIGGER, true, "trigger time"},
                 {dicom::TRAIT_ACQUISITION_TIME, true, "acquisition time"},
                 {dicom::TRAITS, false, "instance number"}};
    for (const auto &row : table)
        for (const bool by_position : {false, true})
            for (int voted = -1; voted < 3; voted++) {
                const int slices = 6, times = 3;
                std::vector<Plane> list = repeated(slices, times, by_position);
                for (size_t i = 0; i < list.size(); i++) {
                    const int time = time_of(list, i, slices, times, by_position);
                    const double noise = row.varies_by_slice ? 0.01 * double(i % 5) : 0;
                    if (row.trait != dicom::TRAITS)
                        list[i].traits[row.trait] = std::to_string(10 * time + noise);
                    list[i].votes = time == voted && list[i].origin_mm[2] == 10;
                }
                const Stack s = build_stack(list);
                assert_int_equal(s.order.size(), slices);
                assert_int_equal(s.left_out, slices * (times - 1));
                assert_int_equal(s.issues, DICOM_ISSUE_SEVERAL_VOLUMES);
                assert_text(s, (std::string("3 volumes, told apart by ") + row.name).c_str());
                assert_text(s, voted >= 0 ? "the one that the prompts lie on" : "the first");
                for (const size_t i : s.order)
                    assert_int_equal(time_of(list, i, slices, times, by_position), std::max(voted, 0));
            }
}

/* b = 0 once, b = 800 in three directions: two steps, and the plain image is a volume of its own. */
void diffusion(void **)
{
    std::vector<Plane> list = repeated(8, 4, true);
    for (size_t i = 0; i < list.size(); i++)
        list[i].traits[dicom::TRAIT_B_VALUE] = i % 4 == 0 ? "0" : "800";
    const Stack s = build_stack(list);
    assert_int_equal(s.order.size(), 8);
    for (const size_t i : s.order)
        assert_int_equal(i % 4, 0);
    assert_text(s, "4 volumes, told apart by b-value, instance number");
}

void places_are_volumes(void **)
{
    const struct {
        std::function<void(Plane &)> change;
        const char *reason;
    } table[] = {{[](Plane &p) { p.rows = 7; }, "size"},
                 {[](Plane &p) { p.spacing_mm[1] = 2; }, "pixel spacing"},
                 {[](Plane &p) { p.frame_of_reference = "1.2"; }, "frame of reference"},
                 {[](Plane &p) { p.stack_id = p.stack_id == "1" ? "2" : "1"; }, "stack"}};
    for (const auto &row : table) {
        std::vector<Plane> list = axial({0, 5, 10, 15, 20});
        for (Plane &p : list)
            p.spacing_mm[0] = p.spacing_mm[1] = 1, p.stack_id = "1";
        row.change(list[0]);
        row.change(list[3]);
        Stack s = build_stack(list);
        const std::vector<size_t> largest = {1, 2, 4}, voted = {0, 3};
        assert_true(s.order == largest);
        assert_text(s, (std::string("told apart by ") + row.reason).c_str());
        assert_text(s, "the largest (3 slices) is used, 2 images are left out");
        list[3].votes = 1;
        s = build_stack(list);
        assert_true(s.order == voted);
    }
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
    assert_int_equal(s.issues, DICOM_ISSUE_MIXED_ORIENTATION | DICOM_ISSUE_SEVERAL_VOLUMES);
    assert_int_equal(s.order.size(), 3);
    assert_int_equal(s.left_out, 1);
    assert_text(s,
                "2 volumes, told apart by orientation; the largest (3 slices) is used, 1 image is left out");
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
    const CMUnitTest tests[] = {cmocka_unit_test(even_stack),
                                cmocka_unit_test(gap),
                                cmocka_unit_test(uneven),
                                cmocka_unit_test(one_slice),
                                cmocka_unit_test(duplicates),
                                cmocka_unit_test(same_instance_twice),
                                cmocka_unit_test(mixed),
                                cmocka_unit_test(rounding_is_not_mixed),
                                cmocka_unit_test(time_points),
                                cmocka_unit_test(diffusion),
                                cmocka_unit_test(places_are_volumes),
                                cmocka_unit_test(tilt),
                                cmocka_unit_test(permutations)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
