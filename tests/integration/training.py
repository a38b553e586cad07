"""What tests of `msa train` share: a model of the least size, recipes, what a run leaves."""
import os
import signal
import subprocess
import time
import zlib

import numpy as np

import harness

MSA = os.path.join(harness.BUILD, 'msa')

MODEL = """
model: {name: test, version: "1", image_size: 64, patch: 8, dim: 32, depth: 2, heads: 2, mlp_dim: 64, window: 4,
        global_blocks: [1], prompt_dim: 32, decoder_depth: 1, decoder_heads: 2, decoder_mlp_dim: 32,
        iou_hidden: 16, mask_tokens: 4, adapters: false, adapter_act: gelu, adapter_mlp_scale: 0.5,
        decoder_wiring: sam, pad_order: pad_then_norm, mask_select: sam, input_norm: sam,
        geometry: longest_side}
"""


class Training(harness.Case):
    def recipe(self, name, text):
        path = self.path(name + '.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path

    def base_recipe(self, out, steps=8, more='', lr='1e-3', name=None):
        return self.recipe(name or out,
                           'out: %s\ntrain: all\nsteps: %d\nbatch: 2\nlr: %s\nema: 0.9\nseed: 3\ncheckpoint_every: 3\n%s%s'
                           % (self.path(out), steps, lr, MODEL, more))

    def msa(self, *arguments, wanted=0):
        return harness.run_tool([MSA, *arguments], wanted, cwd=self.folder)

    def content(self, *parts):
        with open(self.path(*parts), 'rb') as file:
            return file.read()

    def curve(self, out):
        return self.content(out, 'curve.csv').decode().splitlines()

    def rows(self, out):
        """Of the curve: one dict a step, None where nothing was measured."""
        lines = self.curve(out)
        names = lines[0].split(',')
        return [{n: float(v) if v else None for n, v in zip(names, line.split(','), strict=True)} for line in lines[1:]]

    def kill_after_checkpoint(self, recipe, out, pause_s=0.0):
        """Begins or goes on, and is killed some time after it has saved; False when it had ended before that."""
        checkpoint = self.path(out, 'checkpoint.safetensors')
        before = os.stat(checkpoint).st_mtime_ns if os.path.exists(checkpoint) else 0
        process = subprocess.Popen([MSA, 'train', recipe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + harness.DEADLINE_S
        while process.poll() is None and time.monotonic() < deadline:
            if os.path.exists(checkpoint) and os.stat(checkpoint).st_mtime_ns != before:
                time.sleep(pause_s)
                break
            time.sleep(0.001)
        killed = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return killed


def paeth(left, up, corner):
    near = [abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)]
    return (left, up, corner)[near.index(min(near))]


def read_png(data):
    """(rows, columns, 3): 8-bit RGB without interlacing, every chunk's sum checked."""
    assert data[:8] == b'\x89PNG\r\n\x1a\n', 'not a PNG'
    at, chunks = 8, {}
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], 'big')
        kind, body = data[at + 4:at + 8], data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + size:at + 12 + size], 'big'), 'a broken chunk'
        chunks[kind] = chunks.get(kind, b'') + body
        at += 12 + size
    assert at == len(data) and b'IEND' in chunks, 'cut short'
    cols, rows = int.from_bytes(chunks[b'IHDR'][:4], 'big'), int.from_bytes(chunks[b'IHDR'][4:8], 'big')
    assert chunks[b'IHDR'][8:] == bytes((8, 2, 0, 0, 0)), 'not 8-bit RGB'
    lines = zlib.decompress(chunks[b'IDAT'])
    assert len(lines) == rows * (1 + 3 * cols), 'pixels are missing'
    out, above = [], [0] * (3 * cols)
    for y in range(rows):
        filtered, line = lines[y * (1 + 3 * cols):(y + 1) * (1 + 3 * cols)], []
        for i, value in enumerate(filtered[1:]):
            left, up, corner = (line[i - 3] if i > 2 else 0), above[i], (above[i - 3] if i > 2 else 0)
            predicted = (0, left, up, (left + up) // 2, paeth(left, up, corner))[filtered[0]]
            line.append((value + predicted) & 255)
        out.append(line)
        above = line
    return np.array(out, np.uint8).reshape(rows, cols, 3)
