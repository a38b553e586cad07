#!/usr/bin/python3
"""A folder of adapters: listed with what is wrong, chosen by body part and label, several in one job."""
import hashlib
import os
import shutil

import harness


class Zoo(harness.Case):
    def setUp(self):
        super().setUp()
        self.base = harness.bundled_model()
        self.zoo = self.path('zoo')
        os.makedirs(self.zoo)

    def train(self, name, base=None, what='adapters'):
        """Two steps: enough to be another model."""
        recipe = self.path(name + '.yaml')
        lines = {'base': base or self.base, 'out': self.path(name), 'name': name, 'train': what, 'steps': 2, 'batch': 1,
                 'lr': 0.01, 'rounds': 1}
        with open(recipe, 'w', encoding='utf-8') as file:
            file.write(''.join('%s: %s\n' % line for line in lines.items()))
        harness.run_tool([os.path.join(harness.BUILD, 'msa'), 'train', recipe], cwd=self.folder)
        return self.path(name, 'model.safetensors' if what == 'all' else 'adapter.safetensors')

    def put(self, name, source, size=None):
        with open(source, 'rb') as file:
            data = file.read(size)
        with open(os.path.join(self.zoo, name + '.safetensors'), 'wb') as file:
            file.write(data)
        return hashlib.sha256(data).hexdigest()

    def fill(self):
        """Two that can be used, and two that cannot."""
        self.lesion = self.put('lesion', self.train('finds-lesions'))
        self.organs = self.put('organs', self.train('finds-organs', what='lora'))
        self.put('cut', self.path('finds-lesions', 'adapter.safetensors'), 3000)
        self.put('foreign', self.train('for-other', self.train('other', what='all')))
        with open(os.path.join(self.zoo, 'lesion.md'), 'w', encoding='utf-8') as file:
            file.write('# Lesions of the abdomen\n\nTrained on nothing.\n')

    def algorithms(self, seg):
        return {s.SegmentLabel: s.SegmentationAlgorithmIdentificationSequence[0] for s in seg.SegmentSequence}

    def test_labels_of_one_job_go_to_their_adapters(self):
        self.fill()
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], model_path=self.base, model_adapters_dir=self.zoo,
                            rules='CT/ABDOMEN/lesion=lesion,MR=cut,CT/ABDOMEN=organs')
        answer = service.json('/v1/models')
        models = {m['adapter']: m for m in answer['models']}
        self.assertEqual(list(models), [None, 'cut', 'foreign', 'lesion', 'organs'])
        self.assertEqual([m['kind'] for m in answer['models']], ['base'] + 4 * ['adapter'])
        self.assertEqual(models['lesion']['file_sha256'], self.lesion)
        self.assertEqual(models['organs']['file_sha256'], self.organs)
        self.assertEqual(models['lesion']['base_sha256'], models[None]['hash'])
        self.assertEqual(models['lesion']['card'],
                         {'path': os.path.join(self.zoo, 'lesion.md'), 'title': 'Lesions of the abdomen'})
        self.assertIsNone(models['organs']['card'])
        self.assertEqual(models['lesion']['size_bytes'], os.path.getsize(os.path.join(self.zoo, 'lesion.safetensors')))
        self.assertLess(0, models['organs']['parameters'])
        self.assertEqual(models['organs']['profile']['image_size'], models[None]['profile']['image_size'])
        self.assertIsNone(models['lesion']['error'])
        self.assertIn('trained on another base', models['foreign']['error'])
        self.assertTrue(models['cut']['error'])
        self.assertEqual([(r['body_part'], r['label'], r['adapter'], r['hash']) for r in answer['rules']],
                         [('ABDOMEN', 'lesion', 'lesion', models['lesion']['hash']), ('*', '*', 'cut', None),
                          ('ABDOMEN', '*', 'organs', models['organs']['hash']), ('*', '*', None, models[None]['hash'])])
        self.assertEqual([models[a]['rules'] for a in (None, 'cut', 'lesion', 'organs')], [[4], [], [1], [3]])
        self.assertIn('cannot_be_used', service.log())
        self.assertEqual(service.get('/readyz').status, 200)

        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        job = service.wait_job('succeeded', series_uid=ct.series_uid)
        both = models['lesion']['hash'] + models['organs']['hash']
        self.assertEqual(job['model']['hash'], hashlib.sha256(both.encode()).hexdigest())
        self.assertEqual(job['model']['name'], ', '.join(models[a]['name'] for a in ('lesion', 'organs'))[:63])
        uid = job['results'][0]['sop_instance_uid']
        harness.until('the result', lambda: any(uid in p for p in receiver.files()))
        seg = self.assert_valid_seg(next(p for p in receiver.files() if uid in p))
        self.assertEqual(set(ct.labels), {'Lesion', 'Spleen'})
        for label, algorithm in self.algorithms(seg).items():
            want = models['lesion' if label == 'Lesion' else 'organs']
            self.assertEqual(algorithm.AlgorithmName, want['name'])
            self.assertIn(want['hash'], algorithm.AlgorithmParameters)
        for segment in job['segments']:
            self.assertIn('lesions' if segment['label'] == 'Lesion' else 'organs', segment['note'])

        mr = self.mr_with_boxes()  # its rule's adapter is damaged: it falls to the last one
        service.send(mr.folder)
        service.annotate(mr.boxes_by_slice())
        self.assertEqual(service.wait_job('succeeded', series_uid=mr.series_uid)['model']['hash'], models[None]['hash'])

    def test_each_label_is_as_if_it_were_alone(self):
        """Two models side by side do not touch each other's masks."""
        self.put('lesion', self.train('finds-lesions'))
        self.put('organs', self.train('finds-organs'))
        ct = self.ct_with_report()
        service = self.msad(model_path=self.base, model_adapters_dir=self.zoo, rules='CT/*/Lesion=lesion,CT=organs')
        service.send(ct.folder, ct.report, tool='storescu')
        job = service.wait_job('succeeded', series_uid=ct.series_uid)
        both = self.path('both.dcm')
        with open(both, 'wb') as file:
            file.write(service.result(job))
        together = self.volumes(self.assert_valid_seg(both), ct.headers)
        for box in ct.boxes:
            adapter = os.path.join(self.zoo, ('lesion' if box.label == 'Lesion' else 'organs') + '.safetensors')
            out = self.path('alone-' + box.label)
            harness.run_tool([os.path.join(harness.BUILD, 'msa'), 'segment', ct.folder, '--box', box.option(), '--model',
                              self.base, '--adapter', adapter, '--out', out])
            alone = self.volumes(self.assert_valid_seg(os.path.join(out, 'seg.dcm')), ct.headers)
            self.assertTrue((alone[box.label] == together[box.label]).all(), box.label)

    def test_what_the_configuration_gets_wrong(self):
        self.put('lesion', self.base)
        for settings, words in (({'rules': 'CT=spleen'}, 'there is no adapter spleen in the folder'),
                                ({'model_adapters_dir': self.path('nowhere')}, 'cannot be read'),
                                ({'rules': 'CT/*/liver=auto:lesion'}, 'prompts concerns a series as a whole')):
            environment = {k: v for k, v in os.environ.items() if not k.startswith('MSAD_')}
            wanted = {'storage_path': self.path('data'), 'dicom_port': 0, 'http_port': 0, 'model_path': self.base,
                      'model_adapters_dir': self.zoo, **settings}
            environment.update({'MSAD_' + k.upper(): str(v) for k, v in wanted.items()})
            said = harness.run_tool([os.path.join(harness.BUILD, 'msad')], None, env=environment)
            self.assertNotEqual(said.returncode, 0)
            self.assertIn(words, said.stdout)
            shutil.rmtree(self.path('data'), ignore_errors=True)


if __name__ == '__main__':
    harness.main()
