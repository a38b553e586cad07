#!/usr/bin/python3
"""msa convert: checkpoints of PyTorch become models whose masks are those of the same weights; hostile files are refused.

What needs PyTorch is skipped where there is none: small checkpoints made with it lie in tests/checkpoints.
"""
import collections
import glob
import json
import os
import pickle
import random
import struct
import unittest
import zipfile

import numpy as np

import harness

try:
    import torch
except ImportError:
    torch = None

CHECKPOINTS = os.path.join(harness.ROOT, 'tests', 'checkpoints')
GOLDEN = os.path.join(harness.ROOT, 'tests', 'golden')


def read_safetensors(path):
    """Name to array, and the metadata. Float tensors as float32."""
    types = {'F32': '<f4', 'F16': '<f2'}
    with open(path, 'rb') as file:
        size, = struct.unpack('<Q', file.read(8))
        header = json.loads(file.read(size))
        data = file.read()
    meta = header.pop('__metadata__', {})
    return {name: np.frombuffer(data[t['data_offsets'][0]:t['data_offsets'][1]], types[t['dtype']]).reshape(t['shape'])
            for name, t in header.items()}, meta


def write_safetensors(path, tensors, meta):
    header, at = {'__metadata__': meta}, 0
    for name, value in tensors.items():
        header[name] = {'dtype': 'F32', 'shape': list(value.shape), 'data_offsets': [at, at + 4 * value.size]}
        at += 4 * value.size
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text)
        for value in tensors.values():
            file.write(np.ascontiguousarray(value, '<f4').tobytes())


class Convert(harness.Case):
    def msa(self, *arguments, wanted=0):
        return harness.run_tool([os.path.join(harness.BUILD, 'msa'), *arguments], wanted, cwd=self.folder)

    def checkpoint(self, name):
        return os.path.join(CHECKPOINTS, name)

    def save(self, name, tensors, wrap=lambda sd: sd, **options):
        path = self.path(name)
        torch.save(wrap(collections.OrderedDict((k, torch.from_numpy(v.copy())) for k, v in tensors.items())), path,
                   **options)
        return path

    def refuse(self, path, *options):
        """One sentence, exit status 65, nothing left behind."""
        out = self.path('refused.safetensors')
        before = set(os.listdir(self.folder))
        done = self.msa('convert', path, out, *options, wanted=65)
        self.assertRegex(done.stdout, r'\Amsa: [^\n]+\n\Z')
        self.assertEqual(set(os.listdir(self.folder)), before)
        return done.stdout


class WithoutPyTorch(Convert):
    """The tool alone, on what lies in the repository."""

    def test_sam(self):
        out = self.path('sam.safetensors')
        said = self.msa('convert', self.checkpoint('sam.pth'), out, '--profile', 'sam', '--decoder-heads', '2', '--name',
                        'tiny', '--model-version', '7').stdout
        self.assertIn('202 matched, 0 missing, 0 unexpected', said)
        said = self.msa('inspect', out).stdout
        self.assertRegex(said, r'name +tiny\nversion +7\n')
        self.assertIn('input_norm=sam geometry=longest_side point_order=xy', said)

    def test_settings_come_last(self):
        out = self.path('sam.safetensors')
        self.msa('convert', self.checkpoint('msa2023.pth'), out, '--profile', 'msa2023', '--decoder-heads', '2',
                 '--input-norm', 'medsam', '--point-order', 'xy', '--geometry', 'longest_side', '--image-size', '32',
                 '--adapter-act', 'relu')
        said = self.msa('inspect', out).stdout
        self.assertIn('input_norm=medsam geometry=longest_side point_order=xy', said)
        self.assertIn('image         32 x 32', said)
        self.assertIn('relu', said)

    def test_an_adapter_of_a_base(self):
        base, whole, adapter = (self.path(n) for n in ('base.safetensors', 'whole.safetensors', 'adapter.safetensors'))
        profile = ['--profile', 'msa2023', '--decoder-heads', '2']
        adapters = self.checkpoint('msa-adapters.pth')
        self.msa('convert', self.checkpoint('sam.pth'), base, *profile)
        said = self.msa('convert', adapters, whole, *profile, '--base', self.checkpoint('sam.pth')).stdout
        self.assertIn('32 matched, 202 missing (taken from the base), 0 unexpected', said)
        self.msa('convert', adapters, adapter, *profile, '--base', base, '--adapter')
        self.assertLess(os.path.getsize(adapter), os.path.getsize(base) / 4)
        self.assertIn('8391 in 234 tensors', self.msa('inspect', base, '--adapter', adapter).stdout)
        self.assertIn('8391 in 234 tensors', self.msa('inspect', whole).stdout)
        # upstream's whole file has a mask decoder of its own: it goes into the adapter, too
        tensors, meta = read_safetensors(whole)
        tensors['mask_decoder.iou_token.weight'] = tensors['mask_decoder.iou_token.weight'] + 1
        write_safetensors(self.path('tuned.safetensors'), tensors, {})
        self.msa('convert', self.path('tuned.safetensors'), adapter, *profile, '--base', base, '--adapter')
        self.assertIn('mask_decoder.mask_tokens.weight', read_safetensors(adapter)[0])
        # but not where the frozen encoder is another
        tensors['image_encoder.pos_embed'] = tensors['image_encoder.pos_embed'] + 1
        write_safetensors(self.path('tuned.safetensors'), tensors, {})
        self.assertIn("image_encoder.pos_embed is not the base's",
                      self.refuse(self.path('tuned.safetensors'), *profile, '--base', base, '--adapter'))

    def test_wrong_arguments(self):
        sam, out = self.checkpoint('sam.pth'), self.path('out.safetensors')
        for arguments, sentence in (([], 'takes IN'), ([sam], 'takes IN'), ([sam, out, 'x'], 'one argument too many'),
                                    ([sam, out, '--profile', 'x'], 'no profile'), ([sam, out, '--adapter'], 'needs --base'),
                                    ([sam, out, '--point-order', 'zz'], 'xy or yx'),
                                    ([sam, out, '--input-norm', 'zz'], 'no value zz'),
                                    ([sam, out, '--image-size', 'big'], 'image_size cannot be'),
                                    ([sam, out, '--color'], 'no option'), ([sam, out, '--base'], 'needs a value')):
            self.assertIn(sentence, self.msa('convert', *arguments, wanted=64).stdout)
        self.assertIn('there is no file', self.msa('convert', 'x.pth', out, '--profile', 'sam', wanted=66).stdout)
        same = self.path('same.pth')
        os.symlink(sam, same)
        self.assertIn('another name', self.msa('convert', sam, same, '--profile', 'sam', wanted=64).stdout)
        self.assertIn('msa2025-3d', self.msa('convert', '--help').stdout)

    def test_what_is_asked_for(self):
        heads = ['--decoder-heads', '2']
        self.assertIn('--profile which it is: sam, medsam', self.refuse(self.checkpoint('sam.pth'), *heads))
        self.assertIn('msa2023, msa2023-3d, sdtrans', self.refuse(self.checkpoint('msa2023.pth'), *heads))
        self.assertIn('--depth-chunk', self.refuse(self.checkpoint('msa2023.pth'), '--profile', 'msa2023-3d', *heads))
        self.assertIn('--base', self.refuse(self.checkpoint('msa-adapters.pth'), '--profile', 'msa2023', *heads))

    def archive(self, name, pickled, compression=zipfile.ZIP_STORED, more=()):
        path = self.path(name)
        with zipfile.ZipFile(path, 'w', compression) as z:
            z.writestr('x/data.pkl', pickled)
            for entry, data in more:
                z.writestr('x/' + entry, data)
        return path

    def test_hostile_pickles_run_nothing(self):
        mark = self.path('mark')

        class Evil:
            def __reduce__(self):
                return os.system, ('touch %s' % mark,)

        for protocol in (2, 4):
            said = self.refuse(self.archive('evil%d.pth' % protocol, pickle.dumps({'state_dict': Evil()}, protocol)))
            self.assertIn('posix.system', said)
        evil = self.path('evil.pkl')
        with open(evil, 'wb') as file:
            pickle.dump(Evil(), file)
        self.refuse(evil)
        self.assertFalse(os.path.exists(mark))

    def test_other_archives(self):
        empty = pickle.dumps({}, 2)
        for sentence, path in (
                ('is compressed', self.archive('small.pth', pickle.dumps('x' * 1000, 2), zipfile.ZIP_DEFLATED)),
                ('holds no tensors', self.archive('empty.pth', empty)),
                ('not a dict', self.archive('list.pth', pickle.dumps([1, 2], 2))),
                ('TorchScript', self.archive('script.pt', empty, more=[('constants.pkl', empty)])),
                ('big-endian', self.archive('big.pth', empty, more=[('byteorder', b'big')]))):
            self.assertIn(sentence, self.refuse(path, '--profile', 'sam'))
        for name, data in (('text.pth', b'not a checkpoint at all'), ('zeros.pth', bytes(4096)), ('none.pth', b'')):
            with open(self.path(name), 'wb') as file:
                file.write(data)
            self.refuse(self.path(name), '--profile', 'sam')

    def test_damaged_files(self):
        """Cut off, or one byte another: refused, or a changed byte that says nothing, but never another exit status."""
        draw = random.Random(4)
        options = ['--profile', 'sam', '--decoder-heads', '2']
        for name in ('sam.pth', 'kinds-old.pth', 'kinds.safetensors'):
            with open(self.checkpoint(name), 'rb') as file:
                good = file.read()
            path = self.path('damaged')
            for _ in range(12):
                with open(path, 'wb') as file:
                    file.write(good[:draw.randrange(len(good))])
                self.refuse(path, *options)
            for _ in range(24):
                bad = bytearray(good)
                bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
                with open(path, 'wb') as file:
                    file.write(bad)
                done = self.msa('convert', path, self.path('damaged.safetensors'), *options, wanted=None)
                self.assertIn(done.returncode, (0, 65), done.stdout)
                if done.returncode == 65:
                    self.assertRegex(done.stdout, r'\Amsa: [^\n]+\n\Z')


@unittest.skipIf(torch is None, 'PyTorch is not installed')
class WithPyTorch(Convert):
    def segment(self, model, phantom, out):
        done = self.msa('segment', phantom.folder, '--annot', phantom.report, '--model', model, '--out', self.path(out))
        self.assertIn('SEG', done.stdout)
        return self.volumes(self.assert_valid_seg(self.path(out, 'seg.dcm')), phantom.headers)

    def assert_same_masks(self, one, other):
        self.assertEqual(set(one), set(other))
        self.assertGreater(sum(mask.sum() for mask in one.values()), 0)
        for label, mask in one.items():
            self.assertTrue(np.array_equal(mask, other[label]), label)

    def test_masks_are_those_of_the_same_weights(self):
        """The bundled model through a training checkpoint of PyTorch and back."""
        model = harness.bundled_model()
        tensors, _ = read_safetensors(model)
        ct = self.ct_with_report()
        saved = self.save('trained.pth', {'module.' + k: v for k, v in tensors.items()},
                          lambda sd: {'epoch': 5, 'state_dict': sd, 'optimizer': {'state': {0: {'step': 3}}},
                                      'best_tol': torch.tensor(0.5), 'path_helper': {'prefix': 'logs'}})
        out = self.path('back.safetensors')
        said = self.msa('convert', saved, out, '--profile', 'base', '--base', model).stdout
        self.assertIn('%d matched, 0 missing' % len(tensors), said)
        self.assert_same_masks(self.segment(model, ct, 'one'), self.segment(out, ct, 'two'))
        for name, value in read_safetensors(out)[0].items():
            self.assertEqual(value.tobytes(), tensors[name].astype('<f4').tobytes(), name)

    def test_every_way_to_save(self):
        """Formats, dtypes and wrappers: the same bytes in the model."""
        tensors, _ = read_safetensors(harness.untrained_model())
        base = ['--profile', 'base', '--base', harness.untrained_model()]
        for name, wrap, more in (
                ('plain', lambda sd: sd, {}), ('old', lambda sd: sd, {'_use_new_zipfile_serialization': False}),
                ('protocol4', lambda sd: sd, {'pickle_protocol': 4}), ('model', lambda sd: {'model': sd, 'epoch': 1}, {}),
                ('double', lambda sd: {k: v.double() for k, v in sd.items()}, {}),
                ('turned', lambda sd: {k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in sd.items()}, {}),
                ('parameters', lambda sd: {k: torch.nn.Parameter(v) for k, v in sd.items()}, {}),
                ('compiled', lambda sd: {'_orig_mod.module.' + k: v for k, v in sd.items()}, {}),
                ('parts', lambda sd: {p: {k[len(p) + 1:]: v for k, v in sd.items() if k.startswith(p)}
                                      for p in ('image_encoder', 'prompt_encoder', 'mask_decoder')}, {})):
            out = self.path(name + '.safetensors')
            said = self.msa('convert', self.save(name + '.pth', tensors, wrap, **more), out, *base).stdout
            self.assertIn('%d matched, 0 missing' % len(tensors), said)
            made, _ = read_safetensors(out)
            self.assertEqual(set(made), set(tensors), name)
            for key, value in made.items():
                self.assertEqual(value.tobytes(), tensors[key].tobytes(), name + ': ' + key)
        two = self.save('two.pth', tensors, lambda sd: {'model': sd, 'ema': {k: v + 1 for k, v in sd.items()}})
        self.assertIn('--prefix', self.refuse(two, *base))
        self.msa('convert', two, self.path('ema.safetensors'), *base, '--prefix', 'ema.')
        name, value = next(iter(read_safetensors(self.path('ema.safetensors'))[0].items()))
        self.assertEqual(value.tobytes(), (tensors[name] + np.float32(1)).tobytes())

    def test_half_precisions(self):
        tensors, _ = read_safetensors(harness.untrained_model())
        base = ['--profile', 'base', '--base', harness.untrained_model()]
        for name, dtype in (('half', torch.float16), ('bfloat', torch.bfloat16)):
            path = self.save(name + '.pth', tensors, lambda sd, t=dtype: {k: v.to(t) for k, v in sd.items()})
            out = self.path(name + '.safetensors')
            self.msa('convert', path, out, *base)
            for key, value in read_safetensors(out)[0].items():
                wanted = torch.from_numpy(tensors[key].copy()).to(dtype).float().numpy()
                self.assertEqual(value.tobytes(), wanted.tobytes(), key)
        self.msa('convert', self.path('half.pth'), self.path('small.safetensors'), *base, '--half')
        for key, value in read_safetensors(self.path('small.safetensors'))[0].items():
            self.assertEqual(value.tobytes(), tensors[key].astype('<f2').tobytes(), key)

    def test_what_is_unknown_or_broken(self):
        tensors, _ = read_safetensors(harness.untrained_model())
        base = ['--profile', 'base', '--base', harness.untrained_model()]
        extra = {**tensors, 'image_encoder.blocks.0.Mystery.weight': np.ones(3, np.float32)}
        path = self.save('extra.pth', extra)
        self.assertIn('Mystery', self.refuse(path, *base))
        self.assertIn('1 unexpected (left out: image_encoder.blocks.0.Mystery.weight)',
                      self.msa('convert', path, self.path('x.safetensors'), *base, '--drop-unknown').stdout)
        beside = self.save('beside.pth', {**tensors, 'pixel_mean': np.ones(3, np.float32)})
        self.assertIn('1 unexpected (left out: pixel_mean)',
                      self.msa('convert', beside, self.path('x.safetensors'), *base).stdout)
        nan = dict(tensors)
        key = 'image_encoder.neck.0.weight'
        nan[key] = tensors[key].copy()
        nan[key].flat[1] = np.nan
        self.assertIn('not finite', self.refuse(self.save('nan.pth', nan), *base))
        wrong = {**tensors, key: np.ones((3, 3), np.float32)}
        self.assertIn(key, self.refuse(self.save('wrong.pth', wrong), *base))
        large = {**tensors, key: np.full_like(tensors[key], 1e6)}
        self.assertIn('F16', self.refuse(self.save('large.pth', large), *base, '--half'))
        spread = self.save('spread.pth', tensors, lambda sd: {**sd, key: torch.ones(1).expand(sd[key].shape)})
        self.assertIn('repeats its elements', self.refuse(spread, *base))
        self.assertIn('save its state_dict()', self.refuse(self.save('whole.pth', {}, lambda sd: torch.nn.Linear(2, 2))))

    def test_reference_files_hold_on_converted_weights(self):
        """check_golden on the same file with the weights that came back: ours, and the shared ones where they are."""
        files = [os.path.join(GOLDEN, 'own_msa2025_2d.safetensors')]
        files += [f for n in ('a_msa2023_2d', 'a_msa2025_2d', 'b_sam_2d', 'd_msa2025_img96')
                  for f in glob.glob(os.path.join(harness.SHARED, 'golden', n + '.safetensors'))]
        for file in files:
            tensors, meta = read_safetensors(file)
            variant, heads = meta['variant'], json.loads(meta['config']).get('dheads', 8)
            weights = {k[2:]: v for k, v in tensors.items() if k.startswith('w.')}
            out, again = self.path('weights.safetensors'), self.path(os.path.basename(file))
            self.msa('convert', self.save('golden.pth', weights, lambda sd: {'state_dict': sd}), out, '--profile', variant,
                     '--decoder-heads', str(heads))
            made, _ = read_safetensors(out)
            self.assertEqual(len(made), len(weights))
            write_safetensors(again, {**{k: v for k, v in tensors.items() if not k.startswith('w.')},
                                      **{'w.' + k: v for k, v in made.items()}}, meta)
            said = harness.run_tool([os.path.join(harness.BUILD, 'tests', 'check_golden'), again]).stdout
            self.assertRegex(said, r'checked=[1-9][0-9]* skipped=0 ok')


if __name__ == '__main__':
    harness.main()
