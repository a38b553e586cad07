#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/io/label_json.h"
#include "engine/io/nifti.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/train/nifti_file.h"
#include "tests/unit/volume/cm.h"

enum { W = 4, H = 3, D = 2, VOXELS = W * H * D };

static void ramp(int16_t v[VOXELS])
{
    for (int i = 0; i < VOXELS; i++)
        v[i] = (int16_t)(i * 10 - 20);
}

static msa_nifti *read_good(const char *path, bool labels)
{
    msa_nifti *n;
    msa_error err = MSA_ERROR_INIT;
    if (msa_nifti_read(&n, path, labels, &err) != MSA_OK) fail_msg("%s", err.what);
    return n;
}

static void refused(const char *path, bool labels, msa_status status, const char *words)
{
    msa_nifti *n;
    msa_error err = MSA_ERROR_INIT;
    if (msa_nifti_read(&n, path, labels, &err) != status)
        fail_msg("wanted \"%s\", got \"%s\"", words, err.what);
    assert_null(n);
    if (!strstr(err.what, words)) fail_msg("wanted \"%s\", got \"%s\"", words, err.what);
}

static void unoriented_is_left_as_it_is(void **state)
{
    int16_t v[VOXELS];
    ramp(v);
    nifti_file f = nifti_file_of(W, H, D, 4, 16);
    f.pixdim[1] = 0.5F;
    f.pixdim[3] = 4;
    f.slope = 2;
    f.inter = 1;
    const char *path = fixture_path(state, "a.nii.gz");
    nifti_file_write(path, &f, v, sizeof v);
    MSA_AUTO(msa_nifti) n = read_good(path, false);
    assert_int_equal(n->depth, D);
    assert_int_equal(n->rows, H);
    assert_int_equal(n->cols, W);
    assert_false(n->oriented);
    assert_near((double)n->spacing_mm[0], 4, 0);
    assert_near((double)n->spacing_mm[2], 0.5, 0);
    for (int i = 0; i < VOXELS; i++)
        assert_near((double)n->voxels[i], v[i] * 2 + 1, 0);
}

/* The patient's position of every voxel is what the file says, whatever the axes became. */
static void check_places(const msa_nifti *n, const nifti_file *f, const int16_t *v)
{
    for (int d = 0; d < n->depth; d++)
        for (int h = 0; h < n->rows; h++)
            for (int w = 0; w < n->cols; w++) {
                const int16_t value = (int16_t)n->voxels[(d * n->rows + h) * n->cols + w];
                int at = 0;
                while (v[at] != value)
                    at++;
                const double k[4] = {at % f->dim[1], at / f->dim[1] % f->dim[2], at / f->dim[1] / f->dim[2],
                                     1};
                const double mine[4] = {w, h, d, 1};
                for (int r = 0; r < 3; r++) {
                    double want = 0, got = 0;
                    for (int c = 0; c < 4; c++) {
                        want += (double)f->srow[4 * r + c] * k[c];
                        got += n->affine[4 * r + c] * mine[c];
                    }
                    assert_near(got, r < 2 ? -want : want, 1e-4);
                }
            }
    for (int r = 0; r < 3; r++) /* axial: each axis mostly along its own direction, forwards */
        assert_true(n->affine[5 * r] > 0);
}

static void sform_turns_to_axial(void **state)
{
    int16_t v[VOXELS];
    ramp(v);
    nifti_file f = nifti_file_of(W, H, D, 4, 16);
    const float srow[3][12] = {
        {3, 0, 0, -17, 0, 3, 0, 5, 0, 0, 3, 9},            /* RAS */
        {0, 0.2F, 2, 1, 3, 0.1F, 0, 2, 0, -1.5F, 0.1F, 3}, /* sagittal, head first, slightly oblique */
        {-1, 0, 0.1F, 4, 0, 0, 2, 5, 0.05F, 1, 0, 6},      /* coronal */
    };
    f.sform = 1;
    for (int k = 0; k < 3; k++) {
        memcpy(f.srow, srow[k], sizeof f.srow);
        const char *path = fixture_path(state, "b.nii");
        nifti_file_write(path, &f, v, sizeof v);
        MSA_AUTO(msa_nifti) n = read_good(path, false);
        assert_true(n->oriented);
        check_places(n, &f, v);
    }
}

static void qform_is_used_without_sform(void **state)
{
    int16_t v[VOXELS];
    ramp(v);
    nifti_file f = nifti_file_of(W, H, D, 4, 16);
    f.qform = 1;
    f.pixdim[0] = 1;
    f.quatern[2] = 1; /* half a turn about z: x to the left, y to the back, as DICOM has it */
    f.quatern[3] = 10;
    const char *path = fixture_path(state, "q.nii");
    nifti_file_write(path, &f, v, sizeof v);
    MSA_AUTO(msa_nifti) n = read_good(path, false);
    assert_true(n->oriented);
    assert_near((double)n->voxels[0], v[0], 0);
    assert_near((double)n->voxels[1], v[1], 0);
    assert_near(n->affine[0], 1, 1e-6);
    assert_near(n->affine[3], -10, 1e-6);
}

static void every_number_type(void **state)
{
    const uint8_t u8[4] = {0, 1, 200, 255};
    const double f64[4] = {0, 1, 200, 255};
    const uint32_t u32[4] = {0, 1, 200, 255};
    const int64_t i64[4] = {0, 1, 200, 255};
    const struct {
        int16_t type, bits;
        const void *data;
    } k[4] = {{2, 8, u8}, {64, 64, f64}, {768, 32, u32}, {1024, 64, i64}};
    for (int i = 0; i < 4; i++) {
        nifti_file f = nifti_file_of(2, 2, 1, k[i].type, k[i].bits);
        f.dim[0] = 2; /* a single slice */
        const char *path = fixture_path(state, "t.nii");
        nifti_file_write(path, &f, k[i].data, (uint32_t)k[i].bits / 2);
        MSA_AUTO(msa_nifti) image = read_good(path, false);
        MSA_AUTO(msa_nifti) labels = read_good(path, true);
        for (int j = 0; j < 4; j++) {
            assert_near((double)image->voxels[j], u8[j], 0);
            assert_int_equal(labels->labels[j], u8[j]);
        }
    }
}

static void hostile_files_are_refused(void **state)
{
    int16_t v[VOXELS];
    ramp(v);
    const nifti_file good = nifti_file_of(W, H, D, 4, 16);
    const char *path = fixture_path(state, "h.nii");
    refused(path, false, MSA_E_NOT_FOUND, "cannot be opened");
    nifti_file f = good;
    f.dim[1] = f.dim[2] = f.dim[3] = 8000;
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_PARSE, "voxels; at most");
    f = good;
    f.dim[2] = -3;
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_PARSE, "axis 2");
    f = good;
    f.dim[0] = 9;
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_PARSE, "NIfTI");
    f = good;
    f.dim[0] = 4;
    f.dim[4] = 5;
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_UNSUPPORTED, "5 volumes");
    f = good;
    f.vox_offset = 2e9F;
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_PARSE, "begin at byte");
    f = good;
    f.datatype = 128;
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_UNSUPPORTED, "type 128");
    f = good;
    f.magic = "ni1";
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_UNSUPPORTED, "another file");
    f = good;
    f.magic = "xyz";
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_PARSE, "not NIfTI-1");
    nifti_file_write(path, &good, v, sizeof v - 1);
    refused(path, false, MSA_E_PARSE, "ends before");
    assert_int_equal(truncate(path, 100), 0);
    refused(path, false, MSA_E_PARSE, "shorter than a NIfTI header");
    refused(fixture_path(state, "h.img"), false, MSA_E_UNSUPPORTED, "not named");
}

static void labels_are_whole_numbers(void **state)
{
    const float half[4] = {0, 1, 2.5F, 3};
    const int16_t negative[4] = {0, 1, -2, 3};
    const char *path = fixture_path(state, "l.nii.gz");
    nifti_file f = nifti_file_of(2, 2, 1, 16, 32);
    nifti_file_write(path, &f, half, sizeof half);
    refused(path, true, MSA_E_PARSE, "2.5, which is no label");
    f = nifti_file_of(2, 2, 1, 4, 16);
    nifti_file_write(path, &f, negative, sizeof negative);
    refused(path, true, MSA_E_PARSE, "-2, which is no label");
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void label_names(void **state)
{
    const char *path = fixture_path(state, "labels.json");
    MSA_AUTO_FREE msa_label_entry *list = NULL;
    int32_t n;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_label_json_read(&list, &n, path, &err), MSA_E_NOT_FOUND);
    write_text(path, "{\"7\": \"spleen\", \"65535\": \"left kidney\"}");
    assert_int_equal(msa_label_json_read(&list, &n, path, NULL), MSA_OK);
    assert_int_equal(n, 2);
    assert_int_equal(list[0].value, 7);
    assert_string_equal(list[1].name, "left kidney");
    static const char *const bad[] = {"[]",
                                      "{}",
                                      "{\"0\": \"x\"}",
                                      "{\"65536\": \"x\"}",
                                      "{\"1\": 2}",
                                      "{\"a\": \"x\"}",
                                      "{\"1\": \"x\", \"01\": \"y\"}",
                                      "{\"1\": \"\"}",
                                      "{\"1\": \"a\\nb\"}",
                                      "{\"1\":"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        msa_label_entry *none;
        write_text(path, bad[i]);
        assert_int_equal(msa_label_json_read(&none, &n, path, NULL), MSA_E_PARSE);
        assert_null(none);
    }
}

/* The Decathlon's way and nnU-Net's. */
static void dataset_names(void **state)
{
    static const struct {
        const char *text, *names;
        bool ct;
    } good[] = {
        {"{\"labels\": {\"0\": \"background\", \"2\": \"tumour\", \"1\": \"liver\"}, \"modality\": {\"0\": "
         "\"CT\"}}",
         "1=liver 2=tumour ", true},
        {"{\"labels\": {\"background\": 0, \"left\": 1, \"right\": 2, \"ignore\": 3},"
         " \"channel_names\": {\"0\": \"T2\", \"1\": \"CT\"}}",
         "1=left 2=right ", false},
        {"{\"labels\": {\"background\": 0, \"whole\": [1, 2, 3], \"core\": [2, 3], \"active\": [3], "
         "\"\\u00e9\": 4}}",
         "1=label 1 2=label 2 3=active 4=?? ", false},
    };
    static const char *const bad[] = {"[]", "{", "{\"labels\": [1]}", "{\"labels\": {\"background\": 0}}"};
    const char *path = fixture_path(state, "dataset.json");
    msa_label_entry *list;
    int32_t n;
    bool ct = false;
    assert_int_equal(msa_dataset_json_read(&list, &n, &ct, 0, path, NULL), MSA_E_NOT_FOUND);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char names[200] = "";
        write_text(path, good[i].text);
        assert_int_equal(msa_dataset_json_read(&list, &n, &ct, 0, path, NULL), MSA_OK);
        for (int32_t k = 0; k < n; k++)
            (void)snprintf(names + strlen(names), sizeof names - strlen(names), "%d=%s ", list[k].value,
                           list[k].name);
        free(list);
        assert_string_equal(names, good[i].names);
        assert_int_equal(ct, good[i].ct);
    }
    write_text(path, good[1].text);
    assert_int_equal(msa_dataset_json_read(&list, &n, &ct, 1, path, NULL), MSA_OK);
    free(list);
    assert_true(ct); /* its second channel is one */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_text(path, bad[i]);
        assert_int_equal(msa_dataset_json_read(&list, &n, &ct, 0, path, NULL), MSA_E_PARSE);
        assert_null(list);
    }
}

static void volumes_are_read_one_by_one(void **state)
{
    int16_t v[3 * VOXELS];
    int32_t n = 0;
    const char *path = fixture_path(state, "several.nii.gz");
    nifti_file f = nifti_file_of(W, H, D, 4, 16);
    for (int i = 0; i < 3 * VOXELS; i++)
        v[i] = (int16_t)(i - 40);
    f.dim[0] = 4;
    f.dim[4] = 3;
    nifti_file_write(path, &f, v, sizeof v);
    assert_int_equal(msa_nifti_volumes(&n, path, NULL), MSA_OK);
    assert_int_equal(n, 3);
    for (int32_t k = 0; k < 3; k++) {
        MSA_AUTO(msa_nifti) one = NULL;
        assert_int_equal(msa_nifti_read_volume(&one, path, k, NULL), MSA_OK);
        for (int i = 0; i < VOXELS; i++)
            assert_near((double)one->voxels[i], v[k * VOXELS + i], 0);
    }
    msa_nifti *none;
    assert_int_equal(msa_nifti_read_volume(&none, path, 3, NULL), MSA_E_NOT_FOUND);
    nifti_file_write(path, &f, v, sizeof v - 2);
    assert_int_equal(msa_nifti_read_volume(&none, path, 2, NULL), MSA_E_PARSE);
    f.dim[0] = 5;
    f.dim[5] = 2;
    nifti_file_write(path, &f, v, sizeof v);
    assert_int_equal(msa_nifti_volumes(&n, path, NULL), MSA_E_UNSUPPORTED);
}

/* The same file, written on a machine of the other byte order: header and voxels swapped by hand. */
static void other_byte_order(void **state)
{
    int16_t v[VOXELS];
    unsigned char h[352 + sizeof v];
    ramp(v);
    const nifti_file f = nifti_file_of(W, H, D, 4, 16);
    const char *path = fixture_path(state, "s.nii");
    nifti_file_write(path, &f, v, sizeof v);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fread(h, 1, sizeof h, file), sizeof h);
    static const struct {
        int at, size, n;
    } fields[] = {{0, 4, 1}, {40, 2, 8}, {70, 2, 2}, {76, 4, 8}, {108, 4, 3}, {252, 2, 2}, {352, 2, VOXELS}};
    for (size_t k = 0; k < sizeof fields / sizeof fields[0]; k++)
        for (int i = 0; i < fields[k].n; i++) {
            unsigned char *p = h + fields[k].at + i * fields[k].size;
            for (int a = 0, b = fields[k].size - 1; a < b; a++, b--) {
                const unsigned char t = p[a];
                p[a] = p[b];
                p[b] = t;
            }
        }
    rewind(file);
    assert_int_equal(fwrite(h, 1, sizeof h, file), sizeof h);
    assert_int_equal(fclose(file), 0);
    MSA_AUTO(msa_nifti) n = read_good(path, false);
    for (int i = 0; i < VOXELS; i++)
        assert_near((double)n->voxels[i], v[i], 0);
}

/* Outside a mask some programs write NaN. */
static void not_finite_is_nothing(void **state)
{
    const float v[4] = {NAN, 1, INFINITY, 3};
    const char *path = fixture_path(state, "n.nii");
    nifti_file f = nifti_file_of(2, 2, 1, 16, 32);
    nifti_file_write(path, &f, v, sizeof v);
    MSA_AUTO(msa_nifti) n = read_good(path, false);
    assert_near((double)n->voxels[0], 0, 0);
    assert_near((double)n->voxels[2], 0, 0);
    assert_near((double)n->voxels[3], 3, 0);
    f.slope = 1e38F;
    nifti_file_write(path, &f, v, sizeof v);
    refused(path, false, MSA_E_PARSE, "beyond 1e30");
}

/* Real files beside the sources, where they are. */
static void real_pairs(void **state)
{
    static const char *const pair[2][2] = {{"ct-nifti/ct", "ct-nifti/labels"},
                                           {"mr-nifti/mr", "mr-nifti/labels"}};
    const char *folder = getenv("MSA_TEST_DATA");
    (void)state;
    if (!folder) skip();
    for (int k = 0; k < 2; k++) {
        char image_path[512], labels_path[512];
        (void)snprintf(image_path, sizeof image_path, "%s/organs-%s.nii.gz", folder, pair[k][0]);
        (void)snprintf(labels_path, sizeof labels_path, "%s/organs-%s.nii.gz", folder, pair[k][1]);
        if (access(image_path, R_OK) != 0) skip();
        MSA_AUTO(msa_nifti) image = read_good(image_path, false);
        MSA_AUTO(msa_nifti) labels = read_good(labels_path, true);
        assert_int_equal(image->depth, labels->depth);
        assert_int_equal(image->rows, k == 0 ? 101 : 91);
        assert_int_equal(image->cols, k == 0 ? 122 : 117);
        assert_memory_equal(image->affine, labels->affine, sizeof image->affine);
        assert_near((double)image->spacing_mm[1], 3, 1e-5);
        double side = 0, count = 0; /* the right kidney lies on the right: at smaller w */
        for (int i = 0; i < image->depth * image->rows * image->cols; i++)
            if (labels->labels[i] == 2) {
                side += i % image->cols - image->cols * 0.5;
                count++;
            }
        assert_true(count > 300 && side / count < -5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(unoriented_is_left_as_it_is, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(sform_turns_to_axial, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(qform_is_used_without_sform, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(every_number_type, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(hostile_files_are_refused, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(labels_are_whole_numbers, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(not_finite_is_nothing, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(other_byte_order, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(dataset_names, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(volumes_are_read_one_by_one, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(label_names, fixture_folder, fixture_remove),
        cmocka_unit_test(real_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
