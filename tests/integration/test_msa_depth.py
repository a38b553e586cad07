#!/usr/bin/python3
"""A model whose slices see each other is a model like any other: in the tool, in `msa eval` and in the service."""
import io
import json
import os

import pydicom

import harness
from test_msa_eval import blocks, write_nifti


class MsaDepth(harness.Case):
    def msa(self, *arguments):
        return harness.run_tool([os.path.join(harness.BUILD, 'msa'), *arguments], 0, cwd=self.folder).stdout

    def model(self, slices):
        path = self.path('depth-%d.safetensors' % slices)
        harness.run_tool([os.path.join(harness.BUILD, 'tests', 'tools', 'make_untrained'), '--preset', 'vit_192', '64', path,
                          str(slices)], 0)
        return path

    def segmented(self, ct, model, threads):
        out = self.path('out-%s-%d' % (os.path.basename(model), threads))
        self.msa('segment', ct.folder, '--annot', ct.report, '--model', model, '--threads', str(threads), '--out', out)
        with open(os.path.join(out, 'seg.dcm'), 'rb') as file:
            return file.read()

    def test_series_deeper_and_shallower_than_the_model(self):
        ct = self.ct_with_report()  # 12 slices
        for slices in (1, 5, 12, 40):
            model = self.model(slices)
            self.assertIn('volume, on a line, %d slices at once' % slices, self.msa('inspect', model))
            one, two = (self.segmented(ct, model, threads) for threads in (1, 2))
            self.assertEqual(one, two)
            seg = pydicom.dcmread(io.BytesIO(one))
            self.assert_geometry(seg, ct.headers)
            self.assertEqual({s.SegmentLabel for s in seg.SegmentSequence}, set(ct.labels))

    def test_a_series_of_one_slice(self):
        ct = harness.Phantom(self.path('one'), '--modality', 'CT', '--rows', '60', '--cols', '70', '--slices', '1')
        out = self.path('out')
        self.msa('segment', ct.folder, '--box', '10,12,40,45@0=one', '--model', self.model(5), '--out', out)
        self.assertTrue(os.path.exists(os.path.join(out, 'seg.dcm')))

    def test_eval(self):
        folder, reports = self.path('data', 'case'), []
        image, labels = blocks()
        os.makedirs(folder)
        write_nifti(os.path.join(folder, 'image.nii.gz'), image)
        write_nifti(os.path.join(folder, 'labels.nii.gz'), labels)
        for threads in ('1', '2'):
            path = self.path('report-%s.json' % threads)
            self.msa('eval', self.model(4), '--data', self.path('data'), '--threads', threads, '--json', path)
            with open(path, encoding='utf-8') as file:
                reports.append(json.load(file))
        self.assertEqual(reports[0], reports[1])
        self.assertEqual(len(reports[0]['cases'][0]['labels']), 3)

    def test_the_service_finds_what_the_tool_finds(self):
        model, ct, receiver = self.model(5), self.ct_with_report(), self.receiver()
        service = self.msad(destinations=[receiver], model_path=model)
        service.send(ct.folder, ct.report, tool='storescu')
        job = service.wait_job('succeeded', series_uid=ct.series_uid)
        served, by_tool = (self.masks(pydicom.dcmread(io.BytesIO(seg)))
                           for seg in (service.result(job), self.segmented(ct, model, 2)))
        self.assertEqual(served.keys(), by_tool.keys())
        for segment, slices in served.items():
            self.assertEqual(slices.keys(), by_tool[segment].keys())
            for uid, mask in slices.items():
                self.assertTrue((mask == by_tool[segment][uid]).all())


if __name__ == '__main__':
    harness.main()
