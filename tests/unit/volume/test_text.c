/* Small things of `msa segment`: boxes on the command line, text that has to fit, pictures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/volume/cm.h"

#include "server/segment/canvas.h"
#include "server/segment/text.h"
#include "server/tool/arguments.h"

static void boxes_are_read(void **state)
{
    (void)state;
    dicom_prompt p;
    assert_int_equal(srv_box_parse(&p, "40,52.5,81,9e1@12=left kidney", NULL), MSA_OK);
    assert_int_equal(p.kind, DICOM_PROMPT_BOX);
    assert_true(p.x0 == 40 && p.y0 == 52.5 && p.x1 == 81 && p.y1 == 90);
    assert_int_equal(p.slice, 12);
    assert_string_equal(p.label, "left kidney");
    assert_string_equal(p.sop_instance_uid, "");
    assert_int_equal(srv_box_parse(&p, "-1,0,2,3@0", NULL), MSA_OK);
    assert_string_equal(p.label, "");
}

static void bad_boxes_give_one_sentence(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "1,2,3",      "1,2,3,4",     "1,2,3,4@",      "1,2,3,4@-1",     "1,2,3,4@x",
        "1,2,3,4@1 ", "1, 2,3,4@1", "nan,2,3,4@1", "0x1,2,3,4@1",   "1,2,inf,4@1",    "1,2,3,4@9999999999",
        "5,2,3,4@1",  "1,4,3,4@1",  "1,2,3,4,5@1", "1,2,3,1e999@1", "1,2,3,4@1=a\nb", "1,2,3,4@1=a\\b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dicom_prompt p;
        msa_error err = MSA_ERROR_INIT;
        assert_int_equal(srv_box_parse(&p, bad[i], &err), MSA_E_INVALID);
        assert_true(strlen(err.what) > 20);
    }
}

static void text_is_cut_between_characters(void **state)
{
    (void)state;
    char text[] = "M\xC3\xBCller";
    char out[64];
    srv_text_cut(text, 2);
    assert_string_equal(text, "M\xC3\xBC");
    srv_text_suffix(out, sizeof out, "Segmentation", " (untrained model)", 64);
    assert_string_equal(out, "Segmentation (untrained model)");
    srv_text_suffix(out, sizeof out, "abcdefgh", "-xy", 6);
    assert_string_equal(out, "abc-xy");
    srv_text_suffix(out, 8, "\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC", "-x",
                    20); /* five bytes of room are two letters */
    assert_string_equal(out, "\xC3\xBC\xC3\xBC-x");
}

static void sentences_join_whole_or_not(void **state)
{
    (void)state;
    char list[16] = "";
    srv_text_join(list, sizeof list, "one");
    srv_text_join(list, sizeof list, "");
    srv_text_join(list, sizeof list, "two");
    srv_text_join(list, sizeof list, "far too long for it");
    assert_string_equal(list, "one; two");
}

static void drawing_is_clipped(void **state)
{
    (void)state;
    const srv_rgb black = {0, 0, 0};
    const srv_rgb red = {255, 0, 0};
    MSA_AUTO(srv_canvas) c = NULL;
    assert_int_equal(srv_canvas_new(&c, 20, 10, black, NULL), MSA_OK);
    srv_canvas_frame(c, -5, -5, 100, 100, red, 0);
    srv_canvas_fill(c, 18, 8, 50, 50, red);
    srv_canvas_text(c, -3, 5, 3, red, "Agp\xC3\xBC\x01");
    srv_canvas_blend(c, 0, 0, red, 0.5F);
    assert_int_equal(c->pixels[19 + 9 * 20].r, 255);
    assert_in_range(c->pixels[0].r, 127, 128);
    assert_int_equal(srv_canvas_text_width("ab\xC3\xBC", 2), 36);
}

/* One letter, pixel by pixel: a font that is upside down would pass every other test. */
static void letters_stand_upright(void **state)
{
    (void)state;
    static const char want[7][6] = {"#....", "#....", "#....", "#....", "#....", "#....", "#####"};
    const srv_rgb black = {0, 0, 0};
    const srv_rgb white = {255, 255, 255};
    MSA_AUTO(srv_canvas) c = NULL;
    assert_int_equal(srv_canvas_new(&c, 6, 9, black, NULL), MSA_OK);
    srv_canvas_text(c, 0, 0, 1, white, "L");
    for (int y = 0; y < 7; y++)
        for (int x = 0; x < 5; x++)
            assert_int_equal(c->pixels[y * 6 + x].g == 255, want[y][x] == '#');
}

static void a_picture_is_saved_or_the_reason_told(void **state)
{
    (void)state;
    const srv_rgb blue = {0, 0, 255};
    char dir[] = "/tmp/msa-canvas-XXXXXX";
    char path[64];
    unsigned char head[8] = {0};
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(srv_canvas) c = NULL;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/p.png", dir);
    assert_int_equal(srv_canvas_new(&c, 30, 20, blue, NULL), MSA_OK);
    assert_int_equal(srv_canvas_save(c, path, NULL), MSA_OK);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(head, 1, 8, f), 8);
    (void)fclose(f);
    assert_memory_equal(head, "\x89PNG\r\n\x1a\n", 8);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(srv_canvas_save(c, path, &err), MSA_E_IO); /* its folder is gone */
    assert_non_null(strstr(err.what, "output folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_are_read),
        cmocka_unit_test(bad_boxes_give_one_sentence),
        cmocka_unit_test(text_is_cut_between_characters),
        cmocka_unit_test(sentences_join_whole_or_not),
        cmocka_unit_test(drawing_is_clipped),
        cmocka_unit_test(letters_stand_upright),
        cmocka_unit_test(a_picture_is_saved_or_the_reason_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
