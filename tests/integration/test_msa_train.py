#!/usr/bin/python3
"""Training from the command line: what it leaves, that killing it changes nothing, and what it refuses."""
import os
import signal
import subprocess
import time

import harness
import training


class MsaTrain(training.Training):
    def test_train_inspect_adapt(self):
        self.msa('train', self.base_recipe('base'))
        rows = self.curve('base')
        self.assertEqual(rows[0].split(',')[:2], ['step', 'loss'])
        self.assertEqual([int(row.split(',')[0]) for row in rows[1:]], list(range(8)))
        self.assertIn('trained       yes', self.msa('inspect', self.path('base', 'model.safetensors')).stdout)
        adapt = self.recipe('adapt', 'base: %s\nout: %s\ntrain: adapters+decoder\nsteps: 2\nadapter_width: 4\n'
                            % (self.path('base', 'model.safetensors'), self.path('adapt')))
        self.msa('train', adapt)
        self.assertIn(b'base_sha256', self.content('adapt', 'adapter.safetensors'))
        self.assertLess(os.path.getsize(self.path('adapt', 'adapter.safetensors')),
                        os.path.getsize(self.path('base', 'model.safetensors')))

    def test_low_rank_updates(self):
        """The same updates whether the run was whole or stopped; on the base they make a model of its own."""
        self.msa('train', self.base_recipe('base'))
        base = self.path('base', 'model.safetensors')
        text = 'base: %s\nout: %s\ntrain: lora\nlora_rank: 2\nlora_alpha: 2\nlr: 1e-2\nsteps: %d\nbatch: 2\n'
        self.msa('train', self.recipe('whole', text % (base, self.path('whole'), 4)))
        self.msa('train', self.recipe('parts', text % (base, self.path('parts'), 2)))
        self.msa('train', self.recipe('parts', text % (base, self.path('parts'), 4)))
        file = self.content('whole', 'adapter.safetensors')
        self.assertEqual(file, self.content('parts', 'adapter.safetensors'))
        self.assertEqual(file.count(b'.lora_A"'), 2 * 3)
        self.assertIn(b'lora_rank', file)
        self.assertNotIn(b'Adapter', file)
        self.assertLess(len(file), os.path.getsize(base) / 4)

    def test_stacks(self):
        """A base of single slices gets a depth branch: the same adapter whether the run was whole or stopped, and a series is
        segmented with it. A model with a branch goes on with it."""
        self.msa('train', self.base_recipe('base'))
        base = self.path('base', 'model.safetensors')
        text = 'base: %s\nout: %s\ntrain: adapters\nadapter_width: 4\ndepth_slices: 3\nlr: 1e-2\nsteps: %d\nbatch: 2\n'
        self.msa('train', self.recipe('whole', text % (base, self.path('whole'), 4)))
        self.msa('train', self.recipe('parts', text % (base, self.path('parts'), 2)))
        self.msa('train', self.recipe('parts', text % (base, self.path('parts'), 4)))
        adapter = self.path('whole', 'adapter.safetensors')
        self.assertEqual(self.content('whole', 'adapter.safetensors'), self.content('parts', 'adapter.safetensors'))
        self.assertIn('volume, on a line, 3 slices at once', self.msa('inspect', base, '--adapter', adapter).stdout)
        ct = self.ct_with_report()
        self.msa('segment', ct.folder, '--annot', ct.report, '--model', base, '--adapter', adapter, '--out', self.path('out'))
        self.assertTrue(os.path.exists(self.path('out', 'seg.dcm')))
        with open(self.base_recipe('deep', 2), encoding='utf-8') as file:
            text = file.read().replace('adapters: false', 'adapters: true, depth_grouping: runs, depth_fold: grid, depth_chunk: 2, '
                                       'depth_slices: 4')
        self.msa('train', self.recipe('deep', text))
        self.assertIn('runs, on a grid, runs of 2, 4 slices at once', self.msa('inspect', self.path('deep', 'model.safetensors')).stdout)

    def test_killed_and_resumed(self):
        """Invariant 10: the same recipe makes the same bytes, however it came to its end."""
        self.msa('train', self.base_recipe('whole', 60))
        killed = self.base_recipe('killed', 60)
        for _ in range(3):
            self.kill_after_checkpoint(killed, 'killed')
        said = self.msa('train', killed)
        self.assertIn('goes on from step', said.stdout)
        self.assertEqual(self.content('whole', 'model.safetensors'), self.content('killed', 'model.safetensors'))
        self.assertEqual(self.curve('whole'), self.curve('killed'))

    def test_interrupted(self):
        recipe = self.base_recipe('stop', 100000)
        process = subprocess.Popen([training.MSA, 'train', recipe],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not os.path.exists(self.path('stop', 'checkpoint.safetensors')):
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 130)
        self.assertIn('the same command goes on', said)

    def test_threads_do_not_matter(self):
        self.msa('train', self.base_recipe('one', 8, 'threads: 1\n'))
        self.msa('train', self.base_recipe('two', 8, 'threads: 2\nloaders: 2\n'))
        self.assertEqual(self.content('one', 'model.safetensors'), self.content('two', 'model.safetensors'))

    def test_refusals(self):
        for text, said in (('out: x\nsteps: 0\n', 'line 2: steps cannot be this'),
                           ('out: x\nspeed: 5\n', 'line 2: there is no key speed'),
                           ('out: x\nsteps: 5\nsteps: 6\n', 'line 3: this key is given twice'),
                           ('out: x\ntrain: all\n', 'either base or model'),
                           ('out: x\ntrain: adapters\n' + training.MODEL, 'a new model has to train all'),
                           ('out: x\nbase: y\ndata: {synthetic: 0}\n', 'nothing to learn from'),
                           ('out: [\n', 'not YAML'), ('', 'is empty')):
            self.assertIn(said, self.msa('train', self.recipe('bad', text), wanted=65).stdout)
        self.msa('train', self.base_recipe('first', 3))
        with open(self.path('first.yaml'), 'a', encoding='utf-8') as file:
            file.write('box_chance: 0.25\n')
        self.assertIn('another recipe', self.msa('train', self.path('first.yaml'), wanted=65).stdout)
        self.msa('train', self.path('none.yaml'), wanted=66)
        self.msa('train', wanted=64)


if __name__ == '__main__':
    harness.main()
