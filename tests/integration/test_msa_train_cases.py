#!/usr/bin/python3
"""msa train on labelled series and NIfTI folders: what is a case, and that the split goes by patient and stays."""
import json
import os

import pydicom

import harness
from test_msa_eval import WRITE_SEG, blocks, write_nifti
from training import MODEL


class MsaTrainCases(harness.Case):
    def msa(self, *arguments, wanted=0):
        return harness.run_tool([os.path.join(harness.BUILD, 'msa'), *arguments], wanted, cwd=self.folder).stdout

    def series(self, folder, patient, *options):
        """A labelled series of that patient."""
        harness.Phantom(folder, '--rows', '48', '--cols', '62', '--slices', '7', *options)
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            data = pydicom.dcmread(path)
            data.PatientID = patient
            data.save_as(path)
        os.makedirs(folder + '-seg')
        harness.run_tool([WRITE_SEG, folder, folder + '-seg'])

    def nifti(self, folder):
        image, labels = blocks()
        os.makedirs(folder)
        write_nifti(os.path.join(folder, 'image.nii.gz'), image, (3, 1.5, 1))
        write_nifti(os.path.join(folder, 'labels.nii.gz'), labels, (3, 1.5, 1))

    def recipe(self, out, steps, validation, data='data', more=''):
        path = self.path(out + '.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write('out: %s\ntrain: all\nsteps: %d\nbatch: 2\nlr: 1e-3\nseed: 3\ntargets: 2\ncheckpoint_every: 2\n'
                       'validate_every: 2\nvalidation_pictures: 4\ndata: {synthetic: 0, cases: [%s], validation: %s%s}\n%s'
                       % (self.path(out), steps, self.path(data), validation, more, MODEL))
        return path

    def split(self, out):
        with open(self.path(out, 'split.json'), encoding='utf-8') as file:
            return json.load(file)

    def content(self, *parts):
        with open(self.path(*parts), 'rb') as file:
            return file.read()

    def test_series_and_folders(self):
        self.series(self.path('data', 'a', 'ct'), harness.CANARY + '-A')
        self.series(self.path('data', 'b', 'ct'), harness.CANARY + '-B', '--seed', '5')
        self.series(self.path('data', 'a', 'mr'), harness.CANARY + '-A', '--seed', '6', '--modality', 'MR')
        self.nifti(self.path('data', 'c'))
        harness.Phantom(self.path('data', 'unlabelled'), '--rows', '48', '--cols', '62', '--seed', '7')
        self.msa('train', self.recipe('one', 4, '{fraction: 0.34, seed: 1}'))
        split = self.split('one')
        sides = {case['name']: case['side'] for case in split['cases']}
        patients = {case['name']: case['patient'] for case in split['cases']}
        self.assertEqual(list(sides), ['data/a/ct', 'data/a/mr', 'data/b/ct', 'data/c'])
        self.assertEqual(patients['data/a/ct'], patients['data/a/mr'])
        self.assertEqual(sides['data/a/ct'], sides['data/a/mr'])
        self.assertEqual((split['patients'], split['fraction'], split['seed']), (3, 0.34, 1))
        self.assertEqual(len({patients[name] for name in sides if sides[name] == 'validation'}), 1)
        for folder, _, names in os.walk(self.path('one')):  # invariant 8
            for name in names:
                self.assertNotIn(harness.CANARY.encode(), self.content(folder, name), name)
        # Stopped and gone on: the same; the split is made anew and compared.
        self.msa('train', self.recipe('two', 2, '{fraction: 0.34, seed: 1}'))
        self.msa('train', self.recipe('two', 4, '{fraction: 0.34, seed: 1}'))
        self.assertEqual(self.content('one', 'split.json'), self.content('two', 'split.json'))
        self.assertEqual(self.content('one', 'model.safetensors'), self.content('two', 'model.safetensors'))
        self.assertEqual(self.content('one', 'curve.csv'), self.content('two', 'curve.csv'))
        # One case in memory at a time: another run, as repeatable.
        for out in ('few', 'again'):
            self.msa('train', self.recipe(out, 4, '{fraction: 0.34, seed: 1}', more=', cases_at_once: 1'))
        self.assertEqual(self.content('few', 'model.safetensors'), self.content('again', 'model.safetensors'))
        self.assertNotEqual(self.content('few', 'model.safetensors'), self.content('one', 'model.safetensors'))
        self.nifti(self.path('data', 'd'))
        said = self.msa('train', self.recipe('two', 6, '{fraction: 0.34, seed: 1}'), wanted=65)
        self.assertRegex(said, 'the split is not the one that this run began with: case data/')
        self.assertEqual(self.content('one', 'split.json'), self.content('two', 'split.json'))
        self.msa('train', self.recipe('three', 2, '{fraction: 0.34, seed: 1}'))  # another folder begins anew
        self.assertEqual(len(self.split('three')['cases']), 5)

    def test_named_cases(self):
        for name in ('c', 'd', 'e'):
            self.nifti(self.path('data', name))
        self.msa('train', self.recipe('one', 2, '{cases: [data/d]}'))
        self.assertEqual([case['side'] for case in self.split('one')['cases']], ['train', 'validation', 'train'])
        self.msa('train', self.recipe('all', 2, '{}'))
        self.assertEqual([case['side'] for case in self.split('all')['cases']], ['train'] * 3)
        for validation, said in (('{cases: [data/x]}', 'no case is called so'),
                                 ('{cases: [data]}', 'is kept for validation'),
                                 ('{cases: [data/c], fraction: 0.5}', 'either a fraction or cases'),
                                 ('{fraction: 2}', 'fraction cannot be this'), ('{part: 1}', 'no key part'),
                                 ('5', 'must be a map')):
            self.assertIn(said, self.msa('train', self.recipe('bad', 2, validation), wanted=65))

    def test_sets(self):
        """A Decathlon folder, with CT named in dataset.json and a label that is held out."""
        image, labels = blocks()
        for folder in ('imagesTr', 'labelsTr'):
            os.makedirs(self.path('data', folder))
        for number in range(3):
            write_nifti(self.path('data', 'imagesTr', 'organ_%d.nii.gz' % number), image)
            write_nifti(self.path('data', 'labelsTr', 'organ_%d.nii.gz' % number), labels)
        with open(self.path('data', 'dataset.json'), 'w', encoding='utf-8') as file:
            json.dump({'labels': {'0': 'background', '1': 'liver', '7': 'kidneys'}, 'modality': {'0': 'CT'}}, file)
        self.msa('train', self.recipe('one', 2, '{fraction: 0.3}'))
        self.assertEqual([case['name'] for case in self.split('one')['cases']], ['data/organ_%d' % k for k in range(3)])
        self.assertEqual([case['side'] for case in self.split('one')['cases']].count('validation'), 1)
        self.msa('train', self.recipe('held', 2, '{}', more=', hold_out: [kidneys]'))
        said = self.msa('train', self.recipe('misspelt', 2, '{}', more=', hold_out: [kidney]'), wanted=65)
        self.assertIn('to be held out that no case has: kidney', said)
        said = self.msa('train', self.recipe('nothing', 2, '{}', more=', hold_out: [kidneys, liver]'), wanted=65)
        self.assertIn('no label of the cases can be a target', said)
        os.makedirs(self.path('none'))
        self.assertIn('there is no case', self.msa('train', self.recipe('none', 2, '{}', 'none'), wanted=66))


if __name__ == '__main__':
    harness.main()
