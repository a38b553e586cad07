#!/usr/bin/python3
"""Makes the checkpoints of this folder and the first inputs of tests/fuzz/corpus. Needs PyTorch (made with 1.13.1); the
tests do not.

usage: make_checkpoints.py [FOLDER]     FOLDER: instead of the repository's tests/

What a value is depends on its tensor's name and place alone, so that a test can say it again without the file:
value(name, i) = ((crc32(name) + 37 * i) % 255 - 127) / 64, exact in every float type that is used.
"""
import collections
import io
import json
import os
import struct
import sys
import zipfile
import zlib

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def values(name, *shape):
    n = int(np.prod(shape)) if shape else 1
    i = np.arange(n, dtype=np.int64)
    v = ((zlib.crc32(name.encode()) + 37 * i) % 255 - 127) / 64
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def sam(dim=8, depth=4, head_dim=4, grid=4, table_grid=None, patch=4, window=3, blocks=(1, 3), P=8, mlp=8, adapters=False,
        esam=False, fill=values):
    """Names and shapes of SAM's, or of MSA's with adapters; esam: as MSA has them since 2024."""
    sd = collections.OrderedDict()

    def put(name, *shape):
        sd[name] = fill(name, *shape)

    def layer(name, n, k):
        put(name + '.weight', n, k)
        put(name + '.bias', n)

    def norm(name, n):
        put(name + '.weight', n)
        put(name + '.bias', n)

    def adapter(name, c):
        layer(name + '.D_fc1', max(c // 4, 1), c)
        layer(name + '.D_fc2', c, max(c // 4, 1))

    e = 'image_encoder.'
    put(e + 'pos_embed', 1, grid, grid, dim)
    put(e + 'patch_embed.proj.weight', dim, 3, patch, patch)
    put(e + 'patch_embed.proj.bias', dim)
    for i in range(depth):
        b = e + 'blocks.%d.' % i
        side = (table_grid or grid) if i in blocks else window
        norm(b + 'norm1', dim)
        for axis in 'hw':
            put(b + 'attn.%s_%s' % ('rel' if esam else 'rel_pos', axis), 2 * side - 1, head_dim)
        layer(b + 'attn.qkv', 3 * dim, dim)
        layer(b + 'attn.proj', dim, dim)
        norm(b + 'norm2', dim)
        layer(b + 'mlp.lin1', 4 * dim, dim)
        layer(b + 'mlp.lin2', dim, 4 * dim)
        if adapters:
            for which in ('MLP', 'Space', 'Depth'):
                adapter(b + which + '_Adapter', dim)
    put(e + 'neck.0.weight', P, dim, 1, 1)
    norm(e + 'neck.1', P)
    put(e + 'neck.2.weight', P, P, 3, 3)
    norm(e + 'neck.3', P)
    p = 'prompt_encoder.'
    put(p + 'pe_layer.positional_encoding_gaussian_matrix', 2, P // 2)
    for i in range(4):
        put(p + 'point_embeddings.%d.weight' % i, 1, P)
    put(p + 'not_a_point_embed.weight', 1, P)
    put(p + 'mask_downscaling.0.weight', 4, 1, 2, 2)
    put(p + 'mask_downscaling.0.bias', 4)
    norm(p + 'mask_downscaling.1', 4)
    put(p + 'mask_downscaling.3.weight', 16, 4, 2, 2)
    put(p + 'mask_downscaling.3.bias', 16)
    norm(p + 'mask_downscaling.4', 16)
    put(p + 'mask_downscaling.6.weight', P, 16, 1, 1)
    put(p + 'mask_downscaling.6.bias', P)
    put(p + 'no_mask_embed.weight', 1, P)
    d = 'mask_decoder.'
    t = d + 'transformer.'

    def attention(name, width):
        for part in 'qkv':
            layer('%s.%s_proj' % (name, part), width, P)
        layer(name + '.out_proj', P, width)

    for i in range(2):
        b = t + 'layers.%d.' % i
        attention(b + 'self_attn', P)
        attention(b + 'cross_attn_token_to_image', P // 2)
        attention(b + 'cross_attn_image_to_token', P // 2)
        for k in range(1, 5):
            norm(b + 'norm%d' % k, P)
        layer(b + ('mlp.layers.0.0' if esam else 'mlp.lin1'), mlp, P)
        layer(b + ('mlp.fc' if esam else 'mlp.lin2'), P, mlp)
    attention(t + 'final_attn_token_to_image', P // 2)
    norm(t + 'norm_final_attn', P)
    put(d + 'iou_token.weight', 1, P)
    put(d + 'mask_tokens.weight', 4, P)
    put(d + 'output_upscaling.0.weight', P, P // 4, 2, 2)
    put(d + 'output_upscaling.0.bias', P // 4)
    norm(d + 'output_upscaling.1', P // 4)
    put(d + 'output_upscaling.3.weight', P // 4, P // 8, 2, 2)
    put(d + 'output_upscaling.3.bias', P // 8)
    heads = [('output_hypernetworks_mlps.%d' % i, P, P // 8) for i in range(4)] + [('iou_prediction_head', P, 4)]
    for name, hidden, out in heads:
        for i in range(3):
            layer(d + '%s.layers.%d' % (name, i), out if i == 2 else hidden, P if i == 0 else hidden)
    return sd


def kinds():
    """A training checkpoint with one tensor of every kind."""
    sd = collections.OrderedDict()
    sd['single'] = values('single', 2, 3)
    sd['half'] = values('half', 5).half()
    sd['bfloat'] = values('bfloat', 5).bfloat16()
    sd['double'] = values('double', 4).double()
    sd['count'] = torch.tensor(7, dtype=torch.int64)
    sd['flags'] = torch.tensor([True, False])
    sd['scalar'] = values('scalar')
    sd['empty'] = torch.zeros(0, 3)
    sd['parameter'] = torch.nn.Parameter(values('parameter', 3))
    sd['turned'] = values('turned', 3, 4).t()
    whole = values('whole', 6, 4)
    sd['whole'] = whole
    sd['rows'] = whole[2:4]
    sd['columns'] = whole[:, 1:3]
    sd['steps'] = whole[::2, ::3]
    optimizer = torch.optim.Adam([sd['parameter']])
    sd['parameter'].sum().backward()
    optimizer.step()
    sd['parameter'] = torch.nn.Parameter(values('parameter', 3))
    return {'epoch': 3, 'model': 'sam', 'state_dict': sd, 'optimizer': optimizer.state_dict(), 'best_tol': np.float64(0.5),
            'loss': torch.tensor(0.25), 'path_helper': {'prefix': 'logs/x', 'ckpt_path': 'logs/x/Model'}, 'rate': 1e-4,
            'large': 1 << 70, 'negative': -5, 'amp': None, 'used': True, 'shape': torch.Size([1, 2])}


def one_storage(sd):
    """The same tensors as views of one block: a small file."""
    block = torch.cat([t.reshape(-1) for t in sd.values()])
    out, at = collections.OrderedDict(), 0
    for name, t in sd.items():
        out[name] = block[at:at + t.numel()].view(t.shape)
        at += t.numel()
    return out


def save(path, what, **options):
    torch.save(what, path, **options)
    print('%7d %s' % (os.path.getsize(path), path))


def write_safetensors(path, sd, metadata=None):
    types = {torch.float32: 'F32', torch.float16: 'F16', torch.bfloat16: 'BF16', torch.float64: 'F64', torch.int64: 'I64',
             torch.bool: 'BOOL'}
    header, data = {}, b''
    if metadata:
        header['__metadata__'] = metadata
    for name, t in sd.items():
        t = t.detach().contiguous()
        raw = (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy().tobytes()
        header[name] = {'dtype': types[t.dtype], 'shape': list(t.shape), 'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + data)
    print('%7d %s' % (os.path.getsize(path), path))


def without_checksums(raw):
    """A fuzzer's changes to data.pkl are then looked at: a checksum of 0 is one that was not recorded."""
    z = bytearray(raw)
    at = 0
    while (at := z.find(b'PK\x01\x02', at)) >= 0:
        z[at + 16:at + 20] = bytes(4)
        at += 4
    return bytes(z)


def make_fuzz_inputs(folder, checkpoints):
    for kind in ('pickle', 'checkpoint', 'convert', 'safetensors'):
        os.makedirs(os.path.join(folder, kind), exist_ok=True)

    def put(kind, name, raw):
        with open(os.path.join(folder, kind, name), 'wb') as f:
            f.write(raw)

    for name in checkpoints:
        raw = open(os.path.join(HERE if len(sys.argv) < 2 else os.path.join(sys.argv[1], 'checkpoints'), name), 'rb').read()
        kind = 'convert' if name.startswith(('sam', 'msa')) else 'checkpoint'
        put(kind, name.replace('.', '-'), without_checksums(raw) if name.endswith('.pth') else raw)
        if raw[:2] == b'PK':
            with zipfile.ZipFile(io.BytesIO(raw)) as z:
                put('pickle', name.replace('.', '-'), z.read(next(n for n in z.namelist() if n.endswith('data.pkl'))))


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(HERE)
    os.makedirs(os.path.join(root, 'checkpoints'), exist_ok=True)
    torch.manual_seed(0)

    def path(name):
        return os.path.join(root, 'checkpoints', name)

    everything = kinds()
    save(path('kinds.pth'), everything)
    save(path('kinds-protocol4.pth'), everything, pickle_protocol=4)
    save(path('kinds-old.pth'), everything, _use_new_zipfile_serialization=False)
    write_safetensors(path('kinds.safetensors'), everything['state_dict'], {'format': 'pt'})
    save(path('sam.pth'), one_storage(sam()))
    msa = sam(adapters=True)
    save(path('msa2023.pth'), {'epoch': 1, 'state_dict': one_storage(
        collections.OrderedDict(('module.' + k, v) for k, v in msa.items()))})
    save(path('msa2025.pth'), {'state_dict': one_storage(sam(adapters=True, esam=True, grid=6, table_grid=4))})
    adapters = collections.OrderedDict((k, v) for k, v in msa.items() if 'Adapter' in k and 'Depth' not in k)
    save(path('msa-adapters.pth'), {'state_dict': one_storage(adapters)})
    make_fuzz_inputs(os.path.join(root, 'fuzz', 'corpus'), ['kinds.pth', 'kinds-protocol4.pth', 'kinds-old.pth',
                                                            'kinds.safetensors', 'sam.pth', 'msa2025.pth'])
    small = collections.OrderedDict(a=values('a', 2, 3), b=values('b', 4).half(), c=values('c', 1, 2).bfloat16())
    write_safetensors(os.path.join(root, 'fuzz', 'corpus', 'safetensors', 'small'), small, {'config': '{"image_size":64}'})


if __name__ == '__main__':
    main()
