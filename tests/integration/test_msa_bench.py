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
        for part in ('encoder', 'decoder', 'decoder_16', 'cached_box', 'series'):
            self.assert_times(found, part)
            self.assertGreater(found[part + '_peak_rss_mib'], 1)
            self.assertLessEqual(found[part + '_peak_rss_mib'], found['peak_rss_mib'])
        self.assertEqual((found['threads'], found['series_slices'], found['slices']), (2, 4, 1))
        self.assertGreater(found['gemm_gflops'], 0)
        self.assertGreater(found['fma_peak_gflops'], 0)
        self.assertAlmostEqual(found['gflops'], 2e3 * found['encoder_gmac'] / found['encoder_ms'], delta=0.02 * found['gflops'])
        self.assertAlmostEqual(found['fma_peak_share'], found['gflops'] / found['fma_peak_gflops'], delta=0.002)
        self.assertNotIn('train_step_ms', found)

    def test_training_beside_a_command(self):
        path = self.path('bench.json')
        said = self.bench('--model', 'default', '--train', '--repeat', '3', '--beside', 'echo first; echo 8000.0 ms, fast',
                          '--json', path).stdout
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
        self.assert_times(found, 'train_step')
        self.assertEqual((found['beside_ms'], found['beside_part']), (8000, 'train_step'))
        self.assertAlmostEqual(found['beside_ratio'], 8000 / found['train_step_ms'], delta=0.01 * found['beside_ratio'])
        self.assertEqual(found['train_set'], 'adapters')
        self.assertLess(found['parameters_trained'], 0.3 * found['parameters'])
        self.assertGreater(found['train_step_peak_rss_mib'], 1)
        self.assertIn('times the training step', said)

    def test_all_trains_more_than_adapters(self):
        found = json.loads(self.bench('--model', 'default', '--only', 'train_step', '--set', 'all', '--recompute', '--repeat',
                                      '3', '--json').stdout)
        self.assertGreater(found['parameters_trained'], 0.9 * found['parameters'])
        self.assertTrue(found['train_recompute'])
        self.assertNotIn('encoder_ms', found)

    def test_a_preset(self):
        found = json.loads(self.bench('--model', 'vit_b', '--image-size', '64', '--adapters', '2d', '--repeat', '3',
                                      '--only', 'encoder,decoder', '--json').stdout)
        self.assertEqual((found['model'], found['image_size']), ('vit_b-random', 64))
        self.assertEqual(found['gemm_shape'], [16, 2304, 768])
        self.assertNotIn('series_ms', found)

    def test_the_command_stands_beside_what_was_asked_for(self):
        said = self.bench('--model', 'vit_192', '--image-size', '64', '--only', 'decoder_16', '--repeat', '3', '--beside',
                          'echo 500 ms, 900.5 of all cores').stdout
        self.assertIn('900.50', said)
        self.assertIn('times the mask decoder, 16 boxes', said)

    def test_a_stack_of_slices(self):
        one, three = (json.loads(self.bench('--model', 'vit_192', '--image-size', '64', '--adapters', '3d', '--depth', depth,
                                            '--repeat', '3', '--only', 'encoder,series', '--json').stdout)
                      for depth in ('1', '3'))
        self.assertEqual((one['slices'], three['slices'], three['series_slices']), (1, 3, 3))
        self.assertGreater(three['encoder_gmac'], 3 * one['encoder_gmac'])

    def test_wrong_arguments(self):
        for arguments in (['--repeat', '2'], ['--image-size', '100'], ['--set', 'some'], ['--adapters', '4d'], ['--depth', '0'],
                          ['--only', 'encoder,'], ['--only', 'something'], ['--series', '0'],
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
