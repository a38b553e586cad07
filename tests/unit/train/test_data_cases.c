/* The cases of a training run: found, opened, split by patient. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dicom/init.h"
#include "server/tool/train_cases.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/train/nifti_file.h"
#include "tests/unit/volume/cm.h"

enum { PATIENTS = 40 };

/* Two cases of every patient but the first, who has one. */
typedef struct made {
    srv_train_cases cases;
    srv_train_case list[2 * PATIENTS];
    char patients[PATIENTS][DICOM_PATIENT_KEY];
} made;

static void make(made *m, int32_t n_patients)
{
    memset(m, 0, sizeof *m);
    m->cases = (srv_train_cases){.list = m->list, .patients = m->patients, .n_patients = n_patients};
    for (int32_t i = 0; i < 2 * n_patients - 1; i++) {
        srv_train_case *one = &m->list[m->cases.n++];
        one->patient = (i + 1) / 2 + 1;
        (void)snprintf(one->name, sizeof one->name, "site/p%02d/%s", one->patient, i % 2 ? "ct" : "mr");
        (void)snprintf(m->patients[one->patient - 1], DICOM_PATIENT_KEY, "key %d", one->patient);
    }
}

static int32_t count_unseen(const made *m)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->cases.n; i++)
        n += m->list[i].validation;
    return n;
}

static void patients_stay_together(void **state)
{
    static made a, b;
    int32_t moved = 0, different = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        const srv_split_rule rule = {.fraction = 0.25, .seed = seed},
                             other = {.fraction = 0.25, .seed = seed + 9};
        make(&a, PATIENTS);
        make(&b, PATIENTS);
        assert_int_equal(srv_split_make(&a.cases, &rule, NULL), MSA_OK);
        assert_int_equal(srv_split_make(&b.cases, &other, NULL), MSA_OK);
        assert_in_range(count_unseen(&a), 19, 20); /* 10 of 40 patients */
        for (int32_t i = 0; i < a.cases.n; i++)
            for (int32_t k = 0; k < i; k++)
                if (a.list[i].patient == a.list[k].patient)
                    assert_int_equal(a.list[i].validation, a.list[k].validation);
        for (int32_t i = 0; i < a.cases.n; i++)
            different += a.list[i].validation != b.list[i].validation;
        /* without the last patient few others change sides */
        make(&b, PATIENTS - 1);
        assert_int_equal(srv_split_make(&b.cases, &rule, NULL), MSA_OK);
        for (int32_t i = 0; i < b.cases.n; i++)
            moved += a.list[i].validation != b.list[i].validation;
    }
    assert_true(different > 20);
    assert_in_range(moved, 0, 5 * 2);
}

static void both_sides_hold_something(void **state)
{
    static made m;
    const srv_split_rule little = {.fraction = 0.01}, most = {.fraction = 0.9}, none = {0};
    (void)state;
    make(&m, 2);
    assert_int_equal(srv_split_make(&m.cases, &little, NULL), MSA_OK);
    assert_in_range(count_unseen(&m), 1, 2);
    assert_int_equal(srv_split_make(&m.cases, &most, NULL), MSA_OK);
    assert_in_range(count_unseen(&m), 1, 2);
    assert_int_equal(srv_split_make(&m.cases, &none, NULL), MSA_OK);
    assert_int_equal(count_unseen(&m), 0);
    make(&m, 1);
    assert_int_equal(srv_split_make(&m.cases, &little, NULL), MSA_E_INVALID);
}

static void cases_may_be_named(void **state)
{
    static made m;
    static const char *const two[] = {"site/p03/mr", "site/p05/"}, *const all[] = {"site"},
                             *const no[] = {"site/p0"};
    const srv_split_rule rule = {.cases = two, .n_cases = 2}, everything = {.cases = all, .n_cases = 1},
                         nothing = {.cases = no, .n_cases = 1};
    (void)state;
    make(&m, PATIENTS);
    assert_int_equal(srv_split_make(&m.cases, &rule, NULL), MSA_OK);
    for (int32_t i = 0; i < m.cases.n; i++) /* the patient's other case goes along */
        assert_int_equal(m.list[i].validation, m.list[i].patient == 3 || m.list[i].patient == 5);
    assert_int_equal(srv_split_make(&m.cases, &everything, NULL), MSA_E_INVALID);
    assert_int_equal(srv_split_make(&m.cases, &nothing, NULL), MSA_E_INVALID);
}

static void a_changed_split_is_refused(void **state)
{
    static made m;
    const srv_split_rule rule = {.fraction = 0.25, .seed = 3};
    const char *path = fixture_path(state, "split.json");
    msa_error err = MSA_ERROR_INIT;
    make(&m, PATIENTS);
    assert_int_equal(srv_split_make(&m.cases, &rule, NULL), MSA_OK);
    assert_int_equal(srv_split_check(&m.cases, path, NULL), MSA_OK); /* nothing to compare with */
    assert_int_equal(srv_split_write(&m.cases, &rule, path, NULL), MSA_OK);
    assert_int_equal(srv_split_check(&m.cases, path, NULL), MSA_OK);
    m.list[4].validation = !m.list[4].validation;
    assert_int_equal(srv_split_check(&m.cases, path, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "case site/p03/mr has changed sides"));
    m.list[4].validation = !m.list[4].validation;
    m.cases.n--;
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(srv_split_check(&m.cases, path, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "case site/p40/mr is gone"));
    m.cases.n++;
    (void)snprintf(m.list[0].name, sizeof m.list[0].name, "another");
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(srv_split_check(&m.cases, path, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "case another is new"));
    assert_int_equal(truncate(path, 40), 0);
    assert_int_equal(srv_split_check(&m.cases, path, NULL), MSA_E_PARSE);
}

/* ---- folders ---- */

static void make_folder(const char *root, const char *name, char path[512])
{
    (void)snprintf(path, 512, "%.400s/%.60s", root, name);
    assert_int_equal(mkdir(path, 0777), 0);
}

static void put(const char *folder, const char *name, int16_t datatype, int16_t bits)
{
    enum { SIDE = 16, N = SIDE * SIDE * 3 };
    static float image[N];
    static uint16_t labels[N];
    char path[700];
    for (int i = 0; i < N; i++) {
        labels[i] = (uint16_t)(i % SIDE > 4 && i / SIDE % SIDE > 4);
        image[i] = labels[i] ? 60 : -900;
    }
    const nifti_file f = nifti_file_of(SIDE, SIDE, 3, datatype, bits);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    nifti_file_write(path, &f, datatype == 16 ? (const void *)image : labels, (uint32_t)(N * bits / 8));
}

static msa_case *open_one(srv_train_cases *c, bool validation, int32_t number)
{
    srv_train_side side;
    msa_error err = MSA_ERROR_INIT;
    msa_case *one;
    const msa_case_set set = srv_train_cases_set(c, validation, &side);
    assert_true(number < set.n);
    if (set.open(set.ctx, number, &one, &err) != MSA_OK) fail_msg("%s", err.what);
    return one;
}

/* A set, whose channels are one patient, and a folder; what two folders both hold counts once. */
static void folders_of_nifti(void **state)
{
    __attribute__((cleanup(srv_train_cases_clear))) srv_train_cases c = {0};
    static const char *const unseen[] = {"task/hip_1"};
    const srv_split_rule rule = {.cases = unseen, .n_cases = 1};
    char root[512], images[512], labels[512], alone[512], empty[512];
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(dicom_init(NULL), MSA_OK);
    make_folder(*state, "task", root);
    make_folder(root, "imagesTr", images);
    make_folder(root, "labelsTr", labels);
    make_folder(root, "alone", alone);
    make_folder(*state, "empty", empty);
    put(images, "hip_1_0000.nii.gz", 16, 32);
    put(images, "hip_1_0001.nii.gz", 16, 32);
    put(images, "hip_2_0000.nii.gz", 16, 32);
    put(labels, "hip_1.nii.gz", 512, 16);
    put(labels, "hip_2.nii.gz", 512, 16);
    put(alone, "ct.nii", 16, 32);
    put(alone, "labels.nii", 512, 16);
    const char *const folders[] = {root, alone, empty};
    assert_int_equal(srv_train_cases_find(&c, folders, 1, true, NULL), MSA_OK);
    assert_int_equal(c.n, 4);
    assert_int_equal(c.n_patients, 3);
    assert_string_equal(c.list[0].name, "task/hip_1");
    assert_string_equal(c.list[1].name, "task/hip_1 (2)");
    assert_string_equal(c.list[2].name, "task/hip_2");
    assert_string_equal(c.list[3].name, "task/alone");
    assert_int_equal(srv_split_make(&c, &rule, NULL), MSA_OK);
    assert_true(c.list[0].validation && c.list[1].validation); /* of one patient */
    assert_false(c.list[2].validation || c.list[3].validation);
    for (int32_t k = 0; k < 4; k++) {
        MSA_AUTO(msa_case) one = open_one(&c, k < 2, k % 2);
        assert_true(one->ct);
        assert_int_equal(one->depth * one->rows * one->cols, 16 * 16 * 3);
        assert_int_equal(one->n_layers, 1);
    }
    srv_train_cases_clear(&c);
    assert_int_equal(srv_train_cases_find(&c, folders, 2, true, &err),
                     MSA_E_NOT_FOUND); /* nothing new in the second */
    srv_train_cases_clear(&c);
    assert_int_equal(srv_train_cases_find(&c, folders + 1, 2, true, NULL), MSA_E_NOT_FOUND);
}

static int folders_remove(void **state)
{
    char command[600];
    (void)snprintf(command, sizeof command, "rm -rf '%s/task' '%s/empty'", (const char *)*state,
                   (const char *)*state);
    return system(command) == 0 ? fixture_remove(state) : -1;
}

/* ---- real series ---- */

static int64_t voxels_of(const msa_case *c, const char *name)
{
    const size_t n = (size_t)c->depth * (size_t)c->rows * (size_t)c->cols;
    int64_t count = -1;
    for (int32_t k = 0; k < c->n_names; k++) {
        if (strcmp(c->names[k].name, name) != 0) continue;
        count = 0;
        for (size_t i = 0; i < n; i++)
            count += c->labels[(size_t)c->names[k].layer * n + i] == c->names[k].value;
    }
    return count;
}

static void range_of(const msa_case *c, float *low, float *high)
{
    *low = *high = c->voxels[0];
    for (size_t i = 0; i < (size_t)c->depth * (size_t)c->rows * (size_t)c->cols; i++) {
        *low = fminf(*low, c->voxels[i]);
        *high = fmaxf(*high, c->voxels[i]);
    }
}

static void real_series(void **state)
{
    static const char *const names[] = {"ct-4dlung-rtstruct", "mr-brain1", "ct-3slice-seg"};
    const char *data = getenv("MSA_TEST_DATA");
    char paths[3][512];
    const char *folders[3];
    __attribute__((cleanup(srv_train_cases_clear))) srv_train_cases c = {0};
    msa_error err = MSA_ERROR_INIT;
    float low, high;
    (void)state;
    for (int k = 0; k < 3; k++) {
        (void)snprintf(paths[k], sizeof paths[k], "%s/%s", data ? data : "", names[k]);
        folders[k] = paths[k];
        if (!data || access(paths[k], R_OK) != 0) skip();
    }
    assert_int_equal(dicom_init(NULL), MSA_OK);
    if (srv_train_cases_find(&c, folders, 3, false, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.n_patients, 3);
    MSA_AUTO(msa_case) lung = open_one(&c, false, 0);
    assert_string_equal(c.list[0].name, "ct-4dlung-rtstruct/ct");
    assert_true(lung->ct);
    assert_int_equal(lung->depth, 32);
    range_of(lung, &low, &high);
    assert_true(low >= -1100 && low < -800 && high > 300); /* HU */
    assert_int_equal(voxels_of(lung, "Tumor_c40"), 23611);
    assert_int_equal(voxels_of(lung, "LN_c40"), 1578);
    MSA_AUTO(msa_case) brain = open_one(&c, false, 1);
    assert_false(brain->ct);
    assert_near((double)brain->spacing_mm[0], 6.5, 0.01); /* the distance, not the thickness */
    assert_int_equal(brain->n_names, 1);
    assert_int_equal(voxels_of(brain, brain->names[0].name), 4137);
    MSA_AUTO(msa_case) again = open_one(&c, false, 1); /* nothing was kept: it is read once more */
    assert_int_equal(voxels_of(again, brain->names[0].name), 4137);
    MSA_AUTO(msa_case) liver = open_one(&c, false, 2);
    assert_true(liver->n_layers > 1); /* segments that overlap */
    for (int32_t k = 0; k < liver->n_names; k++)
        assert_true(voxels_of(liver, liver->names[k].name) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patients_stay_together),
        cmocka_unit_test(both_sides_hold_something),
        cmocka_unit_test(cases_may_be_named),
        cmocka_unit_test_setup_teardown(a_changed_split_is_refused, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(folders_of_nifti, fixture_folder, folders_remove),
        cmocka_unit_test(real_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
