#!/usr/bin/python3
"""A part of SAM in PyTorch, for the eye and for `msa bench --beside`; no test needs it.

usage: torch_peer.py [--part encoder|decoder|decoder_16|train_step] [--model vit_b|vit_l|vit_h|vit_192]
                     [--image-size N] [--adapters none|2d|3d] [--depth D] [--set adapters|adapters+decoder|all]
                     [--threads N] [--repeat N] [--as-installed]

The parts are those of `msa bench --only`, with the same boxes and losses: a training step is one picture, one box,
Dice + BCE, the mean square error of the predicted IoU, Adam. Eager, random weights, warm. The last line is the
median in milliseconds, the time of all cores, and the peak memory.

It starts itself again with what makes it faster, unless --as-installed says not to: OpenBLAS in front, since Debian's
PyTorch may come with a slow BLAS; told which CPU this is, since Debian 12's OpenBLAS takes newer ones for one of 2004;
and OpenMP's threads asleep while OpenBLAS's own compute (685 ms instead of 910 ms for the encoder at 256, two cores).
"""
import argparse
import os
import resource
import statistics
import sys
import time

MODELS = {'vit_b': (768, 12, 12), 'vit_l': (1024, 24, 16), 'vit_h': (1280, 32, 16), 'vit_192': (192, 12, 3)}
OPENBLAS = '/usr/lib/x86_64-linux-gnu/libopenblas.so.0'


def fastest_blas():
    """Environment of the faster BLAS, or None where that is what we have."""
    try:
        with open('/proc/cpuinfo', encoding='ascii') as file:
            flags = set(next(line for line in file if line.startswith('flags')).split())
    except (OSError, StopIteration):
        flags = set()
    core = 'SkylakeX' if {'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'} <= flags else 'Haswell' if 'avx2' in flags else None
    wanted = {'OMP_WAIT_POLICY': 'passive'}
    if os.path.exists(OPENBLAS):
        wanted['LD_PRELOAD'] = OPENBLAS
    if core:
        wanted['OPENBLAS_CORETYPE'] = core
    missing = {key: value for key, value in wanted.items() if key not in os.environ}
    return dict(os.environ, **missing) if missing else None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--part', default='encoder', choices=['encoder', 'decoder', 'decoder_16', 'train_step'])
    parser.add_argument('--model', default='vit_b', choices=sorted(MODELS))
    parser.add_argument('--image-size', type=int, default=256)
    parser.add_argument('--adapters', default='none', choices=['none', '2d', '3d'])
    parser.add_argument('--depth', type=int, default=8)
    parser.add_argument('--set', default='adapters', choices=['adapters', 'adapters+decoder', 'all'])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--as-installed', action='store_true')
    return parser.parse_args()


def loss_of(masks, iou, target):
    logits = F.interpolate(masks[:, :1], size=target.shape[-2:], mode='bilinear', align_corners=False)
    p = logits.sigmoid()
    dice = 1 - (2 * (p * target).sum() + 1e-5) / (p.square().sum() + target.square().sum() + 1e-5)
    with torch.no_grad():
        found = logits > 0
        inside = (found & (target > 0)).sum()
        actual = inside / (found.sum() + target.sum() - inside).clamp(min=1)
    return dice + F.binary_cross_entropy_with_logits(logits, target) + (iou[0, 0] - actual).square()


def freeze(encoder, decoder, which):
    for name, p in list(encoder.named_parameters()) + [('decoder.' + n, q) for n, q in decoder.named_parameters()]:
        decoder_trains = which == 'adapters+decoder' and name.startswith('decoder.')
        p.requires_grad_(which == 'all' or '_Adapter' in name or decoder_trains)
    return [p for m in (encoder, decoder) for p in m.parameters() if p.requires_grad]


def freeze(encoder, decoder, which):
    for name, p in list(encoder.named_parameters()) + [('decoder.' + n, q) for n, q in decoder.named_parameters()]:
        decoder_trains = which == 'adapters+decoder' and name.startswith('decoder.')
        p.requires_grad_(which == 'all' or '_Adapter' in name or decoder_trains)
    return [p for m in (encoder, decoder) for p in m.parameters() if p.requires_grad]


def encoder_of(a, adapters):
    width, layers, heads = MODELS[a.model]
    return Encoder(a.image_size, width, layers, heads, adapters)


def encoding(a):
    encoder = encoder_of(a, a.adapters)
    image = 2 * torch.rand(a.depth if a.adapters == '3d' else 1, 3, a.image_size, a.image_size) - 1

    def run():
        with torch.no_grad():
            encoder(image)
    return run


def decoding(a, n):
    decoder, size = Decoder(a.image_size), a.image_size
    embedding = 2 * torch.rand(1, PROMPT, size // 16, size // 16) - 1
    corner = torch.tensor([[i % 4, i // 4] for i in range(n)]) * (size / 8)
    boxes = torch.cat([corner, corner + size / 2], dim=1)

    def run():
        with torch.no_grad():
            decoder(embedding, boxes)
    return run


def training(a):
    size = a.image_size
    encoder, decoder = encoder_of(a, '2d'), Decoder(size)
    optimizer = torch.optim.Adam(freeze(encoder, decoder, a.set), lr=1e-4)
    image = 2 * torch.rand(1, 3, size, size) - 1
    at = torch.arange(size) * 2 - size
    target = (4 * (at[:, None] ** 2 + at[None, :] ** 2) < size * size).float()[None, None]
    box = torch.tensor([[0.25, 0.25, 0.75, 0.75]]) * size

    def run():
        optimizer.zero_grad(set_to_none=True)
        loss_of(*decoder(encoder(image), box), target).backward()
        optimizer.step()
    return run


def main(a):
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    make = {'encoder': encoding, 'train_step': training, 'decoder': lambda a: decoding(a, 1),
            'decoder_16': lambda a: decoding(a, 16)}
    run = make[a.part](a)
    times, cpu_times = [], []
    run()  # the first one touches the memory
    for _ in range(a.repeat):
        began, cpu_began = time.perf_counter(), time.process_time()
        run()
        times.append(1e3 * (time.perf_counter() - began))
        cpu_times.append(1e3 * (time.process_time() - cpu_began))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print('%.1f ms, %.1f of all cores, %.0f MiB, torch %s' % (
        statistics.median(times), statistics.median(cpu_times), peak, torch.__version__))


if __name__ == '__main__':
    options = arguments()
    better = None if options.as_installed else fastest_blas()
    if better:
        os.execve(sys.executable, [sys.executable] + sys.argv, better)
    import torch
    import torch.nn.functional as F

    from torch_sam import PROMPT, Decoder, Encoder
    main(options)
