#!/usr/bin/python3
"""msa bench on the bundled model: what it measures, and what it says when it cannot."""
import json
import os

import harness


class MsaBench(harness.Case):
    def bench(self, *arguments, wanted=0):
        return harness.run_tool([os.path.join(harness.BUILD, 'msa'), 'bench', *arguments], wanted, cwd=self.folder)

    def assert_times(self, found, name):
        self.assertGreater(found[name + '_ms'], 0)
        self.assertLessEqual(found[name + '_ms_least'], found[name + '_ms'])
        self.assertLessEqual(found[name + '_ms'], found[name + '_ms_most'])
        self.assertGreater(found[name + '_cpu_ms'], 0)

    def test_inference(self):
        found = json.loads(self.bench('--model', 'default', '--repeat', '3', '--threads', '2', '--json').stdout)
        self.assert_times(found, 'encoder')
        self.assert_times(found, 'decoder')
        self.assertEqual((found['repeat'], found['threads']), (3, 2))
        self.assertGreater(found['gemm_gflops'], 0)
        self.assertAlmostEqual(found['gflops'], 2e3 * found['encoder_gmac'] / found['encoder_ms'], delta=0.02 * found['gflops'])
        self.assertGreater(found['peak_rss_mib'], 1)
        self.assertNotIn('train_step_ms', found)

    def test_training_beside_a_command(self):
        path = self.path('bench.json')
        said = self.bench('--model', 'default', '--train', '--repeat', '3', '--beside', 'echo first; echo 8000.0 ms, fast',
                          '--json', path).stdout
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
        self.assert_times(found, 'train_step')
        self.assertEqual(found['beside_ms'], 8000)
        self.assertAlmostEqual(found['beside_ratio'], 8000 / found['train_step_ms'], delta=0.01 * found['beside_ratio'])
        self.assertEqual(found['train_set'], 'adapters')
        self.assertLess(found['parameters_trained'], 0.3 * found['parameters'])
        self.assertGreater(found['train_peak_rss_mib'], 1)
        self.assertIn('times the training step', said)

    def test_all_trains_more_than_adapters(self):
        found = json.loads(self.bench('--model', 'default', '--train', '--set', 'all', '--recompute', '--repeat', '3',
                                      '--json').stdout)
        self.assertGreater(found['parameters_trained'], 0.9 * found['parameters'])
        self.assertTrue(found['train_recompute'])

    def test_a_preset(self):
        found = json.loads(self.bench('--model', 'vit_b', '--image-size', '64', '--adapters', '2d', '--repeat', '3',
                                      '--json').stdout)
        self.assertEqual((found['model'], found['image_size']), ('vit_b-random', 64))
        self.assertEqual(found['gemm_shape'], [16, 2304, 768])

    def test_wrong_arguments(self):
        for arguments in (['--repeat', '2'], ['--image-size', '100'], ['--set', 'some'], ['--adapters', '4d'],
                          ['--beside', ''], ['--nonsense'], ['one', 'more'], ['--threads']):
            said = self.bench(*arguments, wanted=64).stdout
            self.assertIn('msa bench --help', said)

    def test_what_cannot_be_measured(self):
        self.assertIn('nowhere', self.bench('--model', 'nowhere.safetensors', wanted=66).stdout)
        for command in ('exit 3', 'echo fast', 'true'):
            said = self.bench('--model', 'default', '--repeat', '3', '--beside', command, wanted=65).stdout
            self.assertIn('--beside', said)
        self.assertIn('cannot write', self.bench('--model', 'default', '--repeat', '3', '--json', '/nowhere/x.json',
                                                 wanted=66).stdout)


if __name__ == '__main__':
    harness.main()
