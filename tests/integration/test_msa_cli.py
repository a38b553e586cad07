#!/usr/bin/python3
"""The model tool: the same work without a network, and errors that a person can act on."""
import os

import harness


class MsaCli(harness.Case):
    def msa(self, *arguments, wanted=0):
        return harness.run_tool([os.path.join(harness.BUILD, 'msa'), *arguments], wanted, cwd=self.folder)

    def check_out(self, out, headers, labels):
        seg = self.assert_valid_seg(os.path.join(out, 'seg.dcm'))
        self.assert_geometry(seg, headers)
        self.assertEqual({s.SegmentLabel for s in seg.SegmentSequence}, set(labels))
        overlays = [n for n in os.listdir(out) if n.endswith('.png')]
        self.assertGreater(len(overlays), 0)
        for name in overlays:
            with open(os.path.join(out, name), 'rb') as file:
                self.assertEqual(file.read(8), b'\x89PNG\r\n\x1a\n')
        return seg

    def test_segment_with_a_report(self):
        ct = self.ct_with_report()
        out = self.path('out')
        said = self.msa('segment', ct.folder, '--annot', ct.report, '--out', out).stdout
        seg = self.check_out(out, ct.headers, ct.labels)
        self.assertNotIn('untrained', said)
        self.assertNotIn('untrained', seg.SeriesDescription)
        self.assert_found(ct, seg)

    def test_an_untrained_model_says_so(self):
        ct = self.ct_with_report()
        out, model = self.path('out'), harness.untrained_model()
        self.assertIn('untrained', self.msa('inspect', model).stdout)
        said = self.msa('segment', ct.folder, '--annot', ct.report, '--model', model, '--out', out).stdout
        self.assertIn('untrained', said)
        self.assertIn('untrained', self.check_out(out, ct.headers, ct.labels).SeriesDescription)

    def test_segment_with_boxes(self):
        mr = self.mr_with_boxes()
        out = self.path('out')
        self.msa('segment', mr.folder, *[o for b in mr.boxes for o in ('--box', b.option())], '--out', out)
        self.check_out(out, mr.headers, mr.labels)

    def test_box_without_a_label(self):
        mr = self.mr_with_boxes()
        out = self.path('out')
        self.msa('segment', mr.folder, '--box', mr.boxes[0].option().split('=')[0], '--out', out)
        seg = self.assert_valid_seg(os.path.join(out, 'seg.dcm'))
        self.assertEqual(len(seg.SegmentSequence), 1)

    def test_same_input_same_bytes(self):
        ct = self.ct_with_report()
        results = []
        for name in ('one', 'two'):
            self.msa('segment', ct.folder, '--annot', ct.report, '--out', self.path(name))
            with open(self.path(name, 'seg.dcm'), 'rb') as file:
                results.append(file.read())
        self.assertEqual(results[0], results[1])

    def test_each_precision_has_results_of_its_own(self):
        ct = self.ct_with_report()
        uids = []
        for precision in ('fp32', 'fp16', 'bf16', 'int8', 'int8'):
            out = self.path('out-%d' % len(uids))
            said = self.msa('segment', ct.folder, '--annot', ct.report, '--precision', precision, '--out', out).stdout
            self.assertEqual('+' + precision in said, precision != 'fp32')
            seg = self.assert_valid_seg(os.path.join(out, 'seg.dcm'))
            uids.append(seg.SOPInstanceUID)
        self.assertEqual(len(set(uids)), 4)
        self.assertEqual(uids[3], uids[4])

    def test_an_older_result_does_not_stay(self):
        mr = self.mr_with_boxes()
        out = self.path('out')
        os.makedirs(out)
        for name in ('overlay-999.png', 'seg-9.dcm', 'notes.txt'):
            with open(os.path.join(out, name), 'wb'):
                pass
        self.msa('segment', mr.folder, '--box', mr.boxes[0].option(), '--out', out)
        left = os.listdir(out)
        self.assertIn('seg.dcm', left)
        self.assertIn('notes.txt', left)
        self.assertNotIn('overlay-999.png', left)
        self.assertNotIn('seg-9.dcm', left)

    def test_inspect(self):
        said = self.msa('inspect', harness.bundled_model()).stdout
        self.assertNotIn('untrained', said)
        self.assertRegex(said, r'[0-9a-f]{64}')

    def test_help_and_version(self):
        self.assertIn('segment', self.msa('--help').stdout)
        self.assertIn('0.1.0', self.msa('--version').stdout)

    def test_errors_are_sentences(self):
        ct = self.ct_with_report()
        out = self.path('out')
        no_dicom = self.path('empty')
        os.makedirs(no_dicom)
        garbage = self.path('garbage')
        with open(garbage, 'wb') as file:
            file.write(b'\xff' * 1000)
        wrong = (
            (['segment'], 'SERIES_DIR'),
            (['nonsense'], 'nonsense'),
            (['segment', self.path('nowhere'), '--box', '1,1,5,5@0', '--out', out], 'nowhere'),
            (['segment', no_dicom, '--box', '1,1,5,5@0', '--out', out], ''),
            (['segment', ct.folder, '--out', out], '--box'),
            (['segment', ct.folder, '--box', '1,1,5', '--out', out], '1,1,5'),
            (['segment', ct.folder, '--box', '1,1,5,5@9999', '--out', out], '9999'),
            (['segment', ct.folder, '--box', '5,5,1,1@0', '--out', out], ''),
            (['segment', ct.folder, '--annot', garbage, '--out', out], ''),
            (['segment', ct.folder, '--box', '1,1,5,5@0', '--model', garbage, '--out', out], ''),
            (['segment', ct.folder, '--box', '1,1,5,5@0', '--unknown', '--out', out], '--unknown'),
            (['segment', ct.folder, '--box', '1,1,5,5@0', '--precision', 'fp8', '--out', out], 'fp8'),
            (['inspect', garbage], ''),
            (['inspect', self.path('nowhere')], 'nowhere'),
        )
        for arguments, mention in wrong:
            said = self.msa(*arguments, wanted=None)
            text = ' '.join(arguments)
            self.assertIn(said.returncode, (1, 64, 65, 66, 69, 70, 73, 74), '%s: %s' % (text, said.stdout))
            lines = [line for line in said.stdout.split('\n') if line.strip()]
            self.assertGreater(len(lines), 0, text)
            self.assertIn(mention, said.stdout, text)
            self.assertFalse(os.path.exists(os.path.join(out, 'seg.dcm')), text)


if __name__ == '__main__':
    harness.main()
