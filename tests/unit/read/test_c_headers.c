/* The headers are plain C: this file uses them so, and the first calls fail as they promise. */
#include "dicom/init.h"

#include "dicom/annotation.h"
#include "dicom/header.h"
#include "dicom/series.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void init_twice(void **state)
{
    (void)state;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(dicom_init(&err), MSA_OK);
    assert_int_equal(dicom_init(&err), MSA_OK);
    struct sigaction pipe;
    assert_int_equal(sigaction(SIGPIPE, NULL, &pipe), 0);
    assert_true(pipe.sa_handler == SIG_IGN);
}

static void absent_files(void **state)
{
    (void)state;
    msa_error err = MSA_ERROR_INIT;
    dicom_header header;
    assert_int_equal(dicom_header_read(&header, "/nonexistent/file.dcm", &err), MSA_E_NOT_FOUND);
    assert_null(strstr(err.what, "nonexistent"));
    MSA_AUTO(dicom_series) series = NULL;
    const char *path = "/nonexistent/file.dcm";
    assert_int_equal(dicom_series_load(&series, &path, 1, NULL, NULL), MSA_E_NOT_FOUND);
    assert_null(series);
    dicom_prompt *prompts = NULL;
    size_t n = 1;
    const char *note = NULL;
    assert_int_equal(dicom_annotation_read(&prompts, &n, &note, path, NULL), MSA_E_NOT_FOUND);
    assert_int_equal(n, 0);
    assert_null(prompts);
    dicom_series_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(init_twice), cmocka_unit_test(absent_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
