#!/usr/bin/python3
"""Validation of msa train: the curve's columns and pictures, samples, the best result, early stopping, whatever kills it."""
import os

import numpy as np

import harness
import test_msa_eval
import training

COLUMNS = 'step,loss,dice_first,dice_last,lr,grad_norm,validation_loss,validation_dice'
TRAINING, VALIDATION, BEST = (46, 196, 255), (255, 159, 28), (120, 224, 92)  # colours of curve.png
TARGET = (120, 224, 92)  # of a sheet; below it the outlines are drawn at 95 percent
# So low that no weight changes, nor any mask: the first validation stays the best.
STILL = '1e-9'


def close_to(picture, colour, most=24):
    return np.abs(picture.astype(int) - colour).max(axis=2) <= most


class MsaValidation(training.Training):
    def result(self, recipe):
        """What msa train prints: the path of the result, and all it says."""
        said = self.msa('train', recipe).stdout
        paths = [line for line in said.splitlines() if line.startswith(self.folder)]
        self.assertEqual(len(paths), 1, said)
        return os.path.relpath(paths[0], self.folder), said

    def same(self, one, other, names):
        for name in names:
            with self.subTest(file=name):
                self.assertEqual(self.content(one, *name.split('/')), self.content(other, *name.split('/')))

    def test_what_a_run_leaves(self):
        path, said = self.result(self.base_recipe('deep/er/run', 11, 'validate_every: 2\nvalidation_pictures: 3\n', name='run'))
        out = 'deep/er/run'
        self.assertEqual(path, out + '/best.safetensors')
        self.assertEqual(said.count('validation after step'), 6)
        self.assertEqual(self.curve(out)[0], COLUMNS)
        rows = self.rows(out)
        self.assertEqual([r['step'] for r in rows], list(range(11)))
        measured = [r for r in rows if r['validation_dice'] is not None]
        self.assertEqual([r['step'] for r in measured], [1, 3, 5, 7, 9, 10])  # every two, and at the end
        self.assertEqual(measured, [r for r in rows if r['validation_loss'] is not None])
        for row in measured:
            self.assertGreater(row['validation_loss'], 0)
            self.assertTrue(0 <= row['validation_dice'] <= 1)
        best = max(measured, key=lambda r: r['validation_dice'])  # the first of equals
        self.assertIn(b'"training_steps":"%d"' % (best['step'] + 1), self.content(out, 'best.safetensors'))
        self.assertIn(b'"training_steps":"11"', self.content(out, 'model.safetensors'))
        self.assertIn('trained       yes', self.msa('inspect', self.path(out, 'best.safetensors')).stdout)
        self.assertEqual(sorted(os.listdir(self.path(out, 'samples'))),
                         ['step-%06d.png' % n for n in (4, 6, 8, 10, 11)])  # the newest five
        self.assertEqual([n for n in os.listdir(self.path(out)) if n.endswith('.new')], [])
        # What it said is what it wrote.
        for row in measured:
            self.assertIn('validation after step %d: loss %.4f  Dice %.3f' %
                          (row['step'] + 1, row['validation_loss'], row['validation_dice']), said)

    def test_pictures(self):
        self.msa('train', self.base_recipe('run', 9, 'validate_every: 3\nvalidation_pictures: 2\n'))
        curve = training.read_png(self.content('run', 'curve.png'))
        self.assertEqual(curve.shape, (700, 900, 3))
        for panel in (curve[40:314], curve[370:644]):  # loss, then Dice
            self.assertGreater(close_to(panel, TRAINING).sum(), 300)
            self.assertGreater(close_to(panel, VALIDATION).sum(), 3 * 15)
            self.assertGreater(close_to(panel, BEST).sum(), 10)
        sheet = training.read_png(self.content('run', 'samples', 'step-000009.png'))
        self.assertEqual(sheet.shape[1], 1264)
        self.assertEqual((sheet.shape[0] - 52) % 234, 0)  # whole rows of tiles
        self.assertGreater(close_to(sheet[40:], TARGET, 40).sum(), 100)
        self.assertGreater((sheet[40:] == 255).all(axis=2).sum(), 20)  # the dashes of a box

    def test_without_validation(self):
        path, said = self.result(self.base_recipe('plain', 7))
        self.assertEqual(path, 'plain/model.safetensors')
        self.assertNotIn('validation', said)
        self.assertEqual({r['validation_dice'] for r in self.rows('plain')}, {None})
        self.assertEqual(training.read_png(self.content('plain', 'curve.png')).shape, (700, 900, 3))
        self.assertEqual(sorted(os.listdir(self.path('plain'))),
                         ['checkpoint.safetensors', 'curve.csv', 'curve.png', 'model.safetensors'])
        # Looking changes nothing.
        self.msa('train', self.base_recipe('looked', 7, 'validate_every: 2\nvalidation_pictures: 2\n'))
        self.same('plain', 'looked', ('model.safetensors', 'checkpoint.safetensors'))
        keep = COLUMNS.split(',')[:6]
        self.assertEqual([[r[k] for k in keep] for r in self.rows('plain')],
                         [[r[k] for k in keep] for r in self.rows('looked')])

    def test_stops_early(self):
        more = 'validate_every: 2\nvalidation_pictures: 2\npatience: 3\n'
        path, said = self.result(self.base_recipe('run', 1000, more, lr=STILL))
        self.assertEqual(path, 'run/best.safetensors')
        self.assertIn('stops after step 8: 3 validations without a better Dice', said)
        rows = self.rows('run')
        self.assertEqual(len(rows), 8)
        self.assertEqual(len({r['validation_dice'] for r in rows[1::2]}), 1)
        self.assertIn(b'"training_steps":"2"', self.content('run', 'best.safetensors'))
        self.assertIn(b'"training_steps":"8"', self.content('run', 'model.safetensors'))
        # The same again finds that it has stopped; with more patience it goes on.
        before = self.curve('run')
        self.assertIn('stops after step 8', self.result(self.path('run.yaml'))[1])
        self.assertEqual(self.curve('run'), before)
        self.assertIn('stops after step 12', self.result(self.base_recipe('run', 1000, more.replace('3', '5'), lr=STILL))[1])
        self.assertIn(b'"training_steps":"2"', self.content('run', 'best.safetensors'))

    def test_killed_and_resumed(self):
        """Invariant 10 with validation: best, stop and pictures are those of a run that was never stopped."""
        files = ('best.safetensors', 'model.safetensors', 'checkpoint.safetensors', 'curve.csv', 'curve.png')
        for case, lr, more in (('still', STILL, 'validate_every: 2\npatience: 14\n'), ('moving', '3e-3', 'validate_every: 5\n')):
            with self.subTest(case=case):
                more += 'validation_pictures: 4\n'
                whole, killed = self.base_recipe(case, 60, more, lr), self.base_recipe(case + '-killed', 60, more, lr)
                _, said = self.result(whole)
                kills = sum(self.kill_after_checkpoint(killed, case + '-killed', pause) for pause in (0, 0.02, 0.05))
                self.assertGreater(kills, 0)
                again = self.result(killed)[1]
                self.assertIn('goes on from step', again)
                self.same(case, case + '-killed', files)
                self.assertEqual(len(self.rows(case)), 30 if case == 'still' else 60)
                self.assertEqual('stops after step 30' in said, case == 'still')
                self.assertEqual('stops after step 30' in again, case == 'still')
                sheets = sorted(os.listdir(self.path(case, 'samples')))
                self.assertEqual(len(sheets), 5)
                self.same(case, case + '-killed', ['samples/' + s for s in sheets])

    def test_a_curve_that_was_cut(self):
        """Half a row, rows after the checkpoint, sheets after it, and a file of before there was validation."""
        self.msa('train', self.base_recipe('whole', 6))
        self.msa('train', self.base_recipe('cut', 3))
        path = self.path('cut', 'curve.csv')
        rows = [line.rsplit(',', 2)[0] for line in self.curve('cut')]
        with open(path, 'w', encoding='utf-8') as file:
            file.write('\n'.join(rows + ['3,9,9,9,9,9', '4,9,9,9,9,9,9,9', '2', '1,9', '0']))
        os.mkdir(self.path('cut', 'samples'))
        for name in ('step-000003.png', 'step-000004.png', 'step-1000000.png', 'step-4.png', 'mine.png'):
            with open(self.path('cut', 'samples', name), 'w', encoding='utf-8'):
                pass
        self.msa('train', self.base_recipe('cut', 6))
        self.assertEqual(self.curve('cut'), self.curve('whole'))
        self.same('cut', 'whole', ('model.safetensors',))
        self.assertEqual(sorted(os.listdir(self.path('cut', 'samples'))), ['mine.png', 'step-000003.png', 'step-4.png'])

    def test_the_best_adapter(self):
        self.msa('train', self.base_recipe('base', 3))
        base = self.path('base', 'model.safetensors')
        path, _ = self.result(self.recipe('adapt', 'base: %s\nout: %s\ntrain: adapters\nadapter_width: 4\nsteps: 4\nbatch: 2\n'
                                          'validate_every: 2\nvalidation_pictures: 2\n' % (base, self.path('adapt'))))
        self.assertEqual(path, 'adapt/best.safetensors')
        self.assertIn(b'base_sha256', self.content('adapt', 'best.safetensors'))
        os.mkdir(self.path('case'))
        image, labels = test_msa_eval.blocks()
        test_msa_eval.write_nifti(self.path('case', 'image.nii.gz'), image)
        test_msa_eval.write_nifti(self.path('case', 'labels.nii.gz'), labels)
        said = self.msa('eval', base, '--adapter', self.path('adapt', 'best.safetensors'), '--data', self.path('case')).stdout
        self.assertIn('mean of', said)

    def test_refusals(self):
        for text, said in (('patience: 2\n', 'patience counts validations'), ('validate_every: -1\n', 'validate_every cannot be'),
                           ('validation_pictures: 0\n', 'validation_pictures cannot be')):
            self.assertIn(said, self.msa('train', self.base_recipe('bad', 3, text), wanted=65).stdout)
        with open(self.path('file'), 'w', encoding='utf-8'):
            pass
        said = self.msa('train', self.base_recipe('file/below', 3, name='below'), wanted=66).stdout
        self.assertIn('cannot make the folder', said)
        self.assertIn('Not a directory', said)


if __name__ == '__main__':
    harness.main()
