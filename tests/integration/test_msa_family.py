#!/usr/bin/python3
"""EfficientSAM and MobileSAM are models like any other: inspected, used, and refused where they are not trained."""
import os

import harness

MODELS = {'efficientsam_vit_t': 'up to six points', 'mobile_sam': 'TinyViT'}


class MsaFamily(harness.Case):
    def run_tool(self, *arguments, wanted=0):
        return harness.run_tool(list(arguments), wanted, cwd=self.folder)

    def msa(self, *arguments, wanted=0):
        return self.run_tool(os.path.join(harness.BUILD, 'msa'), *arguments, wanted=wanted)

    def model(self, name):
        path = self.path(name + '.safetensors')
        self.run_tool(os.path.join(harness.BUILD, 'tests', 'tools', 'make_untrained'), '--preset', name, '256', path)
        return path

    def test_inspect_and_segment(self):
        ct = self.ct_with_report()
        for name, said in MODELS.items():
            model = self.model(name)
            self.assertIn(said, self.msa('inspect', model).stdout)
            results = []
            for threads in ('1', '2'):
                out = self.path(name + threads)
                self.msa('segment', ct.folder, '--annot', ct.report, '--model', model, '--threads', threads, '--out', out)
                seg = self.assert_valid_seg(os.path.join(out, 'seg.dcm'))
                self.assert_geometry(seg, ct.headers)
                self.assertIn('untrained', seg.SeriesDescription)
                with open(os.path.join(out, 'seg.dcm'), 'rb') as file:
                    results.append(file.read())
            self.assertEqual(results[0], results[1])

    def test_training_is_refused(self):
        for name in MODELS:
            recipe = self.path(name + '.yaml')
            with open(recipe, 'w', encoding='utf-8') as file:
                file.write('base: %s\nout: %s\ntrain: adapters\nsteps: 1\nbatch: 1\n'
                           % (self.model(name), self.path('out')))
            said = self.msa('train', recipe, wanted=None)
            self.assertNotEqual(said.returncode, 0)
            self.assertIn('are used here, not trained', said.stdout)


if __name__ == '__main__':
    harness.main()
