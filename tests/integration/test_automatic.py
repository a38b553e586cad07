#!/usr/bin/python3
"""Without prompts: `msa segment --auto`, and series that a rule segments though nobody annotated them."""
import os

import numpy as np

import harness

# The bundled model was trained with boxes: what a click gives is seldom stable, and it says so. With the usual filters
# it finds nothing in these series, so these tests take whatever it draws; that the filters filter is test_automatic.c's.
LOOSE = {'points-per-side': 8, 'min-iou': 0, 'min-stability': 0.05, 'min-area': 30, 'regions': 5, 'link-iou': 0.3}


class Automatic(harness.Case):
    def msa(self, *arguments, wanted=0):
        return harness.run_tool([os.path.join(harness.BUILD, 'msa'), *arguments], wanted, cwd=self.folder)

    def loose(self, **other):
        options = dict(LOOSE, **{k.replace('_', '-'): v for k, v in other.items()})
        return [o for k, v in options.items() for o in ('--' + k, str(v))]

    def files(self, out):
        return sorted(os.path.join(out, n) for n in os.listdir(out) if n.startswith('seg') and n.endswith('.dcm'))

    def check_segs(self, paths, headers, most):
        """Every file is valid and lies on the series; regions are numbered by size, and those of one file do not overlap."""
        sizes = {}
        for path in paths:
            seg = self.assert_valid_seg(path)
            self.assert_geometry(seg, headers)
            for segment in seg.SegmentSequence:
                self.assertEqual(segment.SegmentAlgorithmType, 'AUTOMATIC')
                self.assertEqual(segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning, 'Selected region')
                self.assertEqual(segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue, '309825002')
            volumes = self.volumes(seg, headers)
            self.assertLessEqual(np.sum(list(volumes.values()), axis=0).max(), 1)
            sizes.update({name: int(v.sum()) for name, v in volumes.items()})
        self.assertEqual(sorted(sizes), sorted('Region %d' % (i + 1) for i in range(len(sizes))))
        ordered = [sizes['Region %d' % (i + 1)] for i in range(len(sizes))]
        self.assertEqual(ordered, sorted(ordered, reverse=True))
        self.assertIn(len(sizes), range(1, most + 1))
        return sizes

    def test_tool(self):
        ct = self.ct_with_report()
        said = self.msa('segment', ct.folder, '--auto', *self.loose(), '--out', self.path('out')).stdout
        sizes = self.check_segs(self.files(self.path('out')), ct.headers, 5)
        for name, voxels in sizes.items():
            self.assertIn('segment "%s":' % name, said)
            self.assertIn('%d voxels' % voxels, said)
        self.assertIn('found without a prompt', said)
        self.assertTrue(os.path.exists(self.path('out', 'preview.png')))
        self.msa('segment', ct.folder, '--auto', *self.loose(), '--threads', '2', '--out', self.path('again'))
        for one, two in zip(self.files(self.path('out')), self.files(self.path('again')), strict=True):
            with open(one, 'rb') as a, open(two, 'rb') as b:
                self.assertEqual(a.read(), b.read())
        fewer = self.msa('segment', ct.folder, '--auto', *self.loose(regions=1), '--out', self.path('fewer')).stdout
        self.assertEqual(len(self.check_segs(self.files(self.path('fewer')), ct.headers, 1)), 1)
        if len(sizes) > 1:
            self.assertIn('left out', fewer)

    def test_nothing_found(self):
        ct = self.ct_with_report()
        said = self.msa('segment', ct.folder, '--auto', *self.loose(min_iou=1), '--out', self.path('out'), wanted=3).stdout
        self.assertIn('the model found nothing by itself', said)
        self.assertEqual(self.files(self.path('out')), [])

    def test_arguments(self):
        ct = self.ct_with_report()
        for arguments, words in ((('--auto', '--box', '1,1,9,9@2'), '--auto goes without prompts'),
                                 (('--auto', '--annot', ct.report), '--auto goes without prompts'),
                                 (('--points-per-side', '8', '--box', '1,1,9,9@2'), 'need --auto'),
                                 (('--auto', '--points-per-side', '65'), 'a whole number from 1 to 64, not "65"'),
                                 (('--auto', '--points-per-side', '2.5'), 'a whole number from 1 to 64'),
                                 (('--auto', '--min-iou', 'nan'), 'a number from 0 to 1, not "nan"'),
                                 (('--auto', '--min-area', '-1'), 'from 0 to 1000000, not "-1"'), ((), 'or --auto')):
            said = self.msa('segment', ct.folder, *arguments, '--out', self.path('out'), wanted=64).stdout
            self.assertIn(words, said)
        self.assertFalse(os.path.exists(self.path('out')))

    def test_a_series_that_nobody_annotated(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], rules='CT=auto:default-ct', automatic_points_per_side=8,
                            automatic_iou_percent=0, automatic_stability_percent=5, automatic_area_min_mm2=30,
                            automatic_regions_max=5, automatic_link_percent=30)
        rule = service.json('/v1/models')['rules'][0]
        self.assertEqual((rule['modality'], rule['prompts']), ('CT', 'auto'))
        ct, mr = self.ct_with_report(), self.mr_with_boxes()
        service.send(mr.folder)
        service.send(ct.folder)
        job = service.wait_job('succeeded', series_uid=ct.series_uid)
        self.assertEqual(job['prompts'], 0)
        self.assertEqual(job['model']['hash'], rule['hash'])
        uids = [r['sop_instance_uid'] for r in job['results']]
        harness.until('the results', lambda: all(any(u in p for p in receiver.files()) for u in uids))
        paths = [next(p for p in receiver.files() if u in p) for u in uids]
        sizes = self.check_segs(paths, ct.headers, 5)
        self.assertEqual({s['label']: s['voxels'] for s in job['segments']}, sizes)
        # no rule says so for MR
        service.wait_job('waiting_prompt', series_uid=mr.series_uid)
        # somebody draws boxes after all: their result replaces what was found without
        service.send(ct.report, tool='storescu')
        newer = service.wait_job('succeeded', series_uid=ct.series_uid, skip=[job['id']])
        self.assertEqual(newer['supersedes'], job['id'])
        self.assertEqual({s['label'] for s in newer['segments']}, set(ct.labels))


if __name__ == '__main__':
    harness.main()
