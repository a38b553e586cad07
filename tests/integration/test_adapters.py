#!/usr/bin/python3
"""Adapters at work: named on the command line, bundled beside the model, chosen by modality; the wrong base is refused."""
import json
import os
import shutil

import harness


class Adapters(harness.Case):
    def setUp(self):
        super().setUp()
        self.base = harness.bundled_model()
        self.tool = os.path.join(harness.BUILD, 'msa')

    def msa(self, *arguments, wanted=0):
        return harness.run_tool([self.tool, *arguments], wanted, cwd=self.folder)

    def train(self, name, base, what='adapters', **more):
        """Two steps: enough to be another model."""
        recipe = self.path(name + '.yaml')
        lines = {'base': base, 'out': self.path(name), 'name': name, 'train': what, 'steps': 2, 'batch': 1, 'lr': 0.01,
                 'rounds': 1, **more}
        with open(recipe, 'w', encoding='utf-8') as file:
            file.write(''.join('%s: %s\n' % line for line in lines.items()))
        self.msa('train', recipe)
        return self.path(name, 'model.safetensors' if what == 'all' else 'adapter.safetensors')

    def hash_of(self, *arguments):
        """What `msa inspect` says of each model, by what it is for; '' for any."""
        found, modality = {}, ''
        for line in self.msa('inspect', *arguments).stdout.split('\n'):
            words = line.split()
            if words[:1] == ['for']:
                modality = words[1]
            elif words[:1] == ['sha256']:
                found[modality] = words[1]
        return found

    def seg_of(self, out):
        return self.assert_valid_seg(os.path.join(out, 'seg.dcm'))

    def algorithm(self, seg):
        return seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]

    def test_on_the_command_line(self):
        adapter = self.train('for-ct', self.base)
        ct = self.ct_with_report()
        plain, adapted = self.path('plain'), self.path('adapted')
        self.msa('segment', ct.folder, '--annot', ct.report, '--model', self.base, '--out', plain)
        said = self.msa('segment', ct.folder, '--annot', ct.report, '--model', self.base, '--adapter', adapter,
                        '--out', adapted).stdout
        self.assertIn('for-ct', said)
        want = self.hash_of(self.base, '--adapter', adapter)['']
        self.assertNotEqual(want, self.hash_of(self.base)[''])
        one, two = self.seg_of(plain), self.seg_of(adapted)
        self.assertIn('for-ct', self.algorithm(two).AlgorithmName)
        self.assertIn(want, self.algorithm(two).AlgorithmParameters)
        self.assertNotIn('for-ct', self.algorithm(one).AlgorithmName)
        self.assertNotEqual(one.SOPInstanceUID, two.SOPInstanceUID, 'another model is another result')
        self.msa('segment', ct.folder, '--annot', ct.report, '--model', self.base, '--adapter', adapter,
                 '--out', self.path('again'))
        with open(os.path.join(adapted, 'seg.dcm'), 'rb') as a, open(self.path('again', 'seg.dcm'), 'rb') as b:
            self.assertEqual(a.read(), b.read())

    def test_the_wrong_base_is_refused_in_a_sentence(self):
        other = self.train('other', self.base, 'all')
        adapter = self.train('for-other', other)
        ct = self.ct_with_report()
        for arguments in (('segment', ct.folder, '--annot', ct.report, '--out', self.path('out')),
                          ('eval', self.base, '--data', ct.folder), ('inspect', self.base)):
            said = self.msa(*arguments, '--adapter', adapter, *(('--model', self.base) if arguments[0] == 'segment' else ()),
                            wanted=65).stdout
            self.assertIn('the adapter was trained on another base: it wants ', said)
            self.assertEqual(len([line for line in said.split('\n') if line.strip()]), 1, said)
        self.assertIn('is an adapter: name its base', self.msa('inspect', adapter, wanted=65).stdout)

    def test_what_is_bundled_is_chosen_by_modality(self):
        """A copy of the program with adapters beside its model, as an installation has them."""
        shutil.copy(self.tool, self.path('msa'))
        os.makedirs(self.path('config', 'models'))
        bundled = self.path('config', 'models', 'default.safetensors')
        shutil.copy(self.base, bundled)
        self.tool = self.path('msa')
        alone = self.hash_of('default')
        self.assertEqual(list(alone), [''], 'an adapter that is not there is passed over')
        for name in ('ct', 'mr'):
            shutil.copy(self.train('test-' + name, bundled), self.path('config', 'models', 'default-%s.safetensors' % name))
        hashes = self.hash_of('default')
        self.assertEqual(set(hashes), {'', 'CT', 'MR'})
        self.assertEqual(hashes[''], alone[''])
        self.assertEqual(len(set(hashes.values())), 3)
        self.assertEqual(self.hash_of(bundled), alone, 'a file that is named is that file and no more')
        for series, modality in ((self.ct_with_report(), 'CT'), (self.mr_with_boxes(), 'MR')):
            out = self.path('out-' + modality)
            self.msa('segment', series.folder, '--box', series.boxes[0].option(), '--out', out)
            algorithm = self.algorithm(self.seg_of(out))
            self.assertIn(hashes[modality], algorithm.AlgorithmParameters)
            self.assertIn('test-' + modality.lower(), algorithm.AlgorithmName)
            report = self.path('report.json')
            self.msa('eval', 'default', '--data', self.case_of(series, out, modality), '--json', report)
            with open(report, encoding='utf-8') as file:
                told = json.load(file)
            self.assertEqual(told['model_sha256'], hashes[''])
            self.assertEqual([c['model_sha256'] for c in told['cases']], [hashes[modality]])

    def case_of(self, series, out, modality):
        """The series with what was just found in it as its labels."""
        folder = self.path('case-' + modality)
        shutil.copytree(series.folder, os.path.join(folder, 'images'))
        shutil.copy(os.path.join(out, 'seg.dcm'), folder)
        return folder

    def test_rules_of_the_service(self):
        adapter = self.train('for-ct', self.base, half='true')
        adapted, plain = self.hash_of(self.base, '--adapter', adapter)[''], self.hash_of(self.base)['']
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], model_path=self.base, rules='CT=%s' % adapter)
        rules = service.json('/v1/models')['rules']
        self.assertEqual([(r['modality'], r['hash']) for r in rules], [('CT', adapted), ('*', plain)])
        metrics = service.get('/metrics').body.decode()
        self.assertIn('msad_model_info{modality="CT"', metrics)
        ct, mr = self.ct_with_report(), self.mr_with_boxes()
        service.send(ct.folder, ct.report, tool='storescu')
        service.send(mr.folder)
        service.annotate(mr.boxes_by_slice())
        for series, model in ((ct, adapted), (mr, plain)):
            job = service.wait_job('succeeded', series_uid=series.series_uid)
            self.assertEqual(job['model']['hash'], model)
            uid = job['results'][0]['sop_instance_uid']
            harness.until('the result', lambda uid=uid: any(uid in p for p in receiver.files()))
            seg = self.assert_valid_seg(next(p for p in receiver.files() if uid in p))
            self.assertIn(model, self.algorithm(seg).AlgorithmParameters)
            self.assertEqual('for-ct' in job['model']['name'], model == adapted)

    def test_one_adapter_for_all_goes_before_the_rules(self):
        adapter = self.train('for-all', self.base)
        service = self.msad(model_path=self.base, model_adapter=adapter, rules='CT=/nowhere')
        rules = service.json('/v1/models')['rules']
        self.assertEqual([(r['modality'], 'for-all' in r['model']) for r in rules], [('CT', True), ('*', True)])


if __name__ == '__main__':
    harness.main()
