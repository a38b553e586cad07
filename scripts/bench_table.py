#!/usr/bin/python3
"""`msa bench` on every case that has a goal, each beside PyTorch or beside ourselves, and the table of it.

usage: bench_table.py --msa PROGRAM [--threads N] [--repeat N] [--turns N] [--folder DIR] [--rows A,B]
                      [--again] [--through COMMAND] [--table FILE]

One case is one run of `msa bench` with tests/tools/torch_peer.py in turns, so that a ratio is of one run. Results lie
in DIR (default: bench-table) as JSON, one a case: a case that is there is not run again, unless --again says so, and
one that fails does not stop the others. --through puts a command in front of each run, for a machine that others use.
The table goes to standard output, and into FILE.

Columns: milliseconds are medians on the clock; "cores" is the ratio of both programs' processor time, which other
programs on the machine disturb less; memory is the peak of the process; an FMA
peak that is lower in one row than in another tells that a core was taken. The goals against ONNX Runtime, which is not
run here, are stated as what they come to against PyTorch: both were measured on one machine (two cores of a Zen 3,
PyTorch 1.13 on OpenBLAS, ONNX Runtime 1.30), and their ratio there is taken for the ratio here.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEER = os.path.join(ROOT, 'tests', 'tools', 'torch_peer.py')
LIMIT_S = 900  # a case, with the wait for its turn


class Row:
    """ours, peer: options of msa bench and torch_peer.py. goal: least ratio to PyTorch; onnx: (its goal, ONNX Runtime
    over PyTorch where both were measured). share: least part of the FMA peak. memory: most MiB."""

    def __init__(self, title, ours, peer=None, goal=None, onnx=None, share=None, memory=None, itself=None, peer_repeat=5):
        self.title, self.ours, self.peer, self.itself, self.peer_repeat = title, ours, peer, itself, peer_repeat
        self.goal, self.onnx, self.share, self.memory = goal, onnx, share, memory
        self.part = ours.split('--only ')[1].split()[0]

    def least(self):
        """The ratio to PyTorch that satisfies both goals."""
        translated = self.onnx[0] * self.onnx[1] if self.onnx else 0
        return max(self.goal or 0, translated) or None


def encoder(size, rest='', **goals):
    return Row('encoder %d%s' % (size, ', MSA adapters 2D' if rest else ''), '--only encoder --image-size %d %s' % (size, rest),
               '--part encoder --image-size %d %s' % (size, rest), **goals)


ROWS = {
    'encoder_1024': encoder(1024, goal=2.5, onnx=(1.6, 15000 / 9540), share=0.8, memory=0.65 * 1024, peer_repeat=1),
    'encoder_512': encoder(512, goal=2, onnx=(1.5, 2620 / 1900), share=0.8),
    'encoder_256': encoder(256, goal=2.5, onnx=(2, 842 / 595)),
    'adapters_256': encoder(256, '--adapters 2d', onnx=(1.8, 825 / 620)),
    'depth_256': Row('MSA 3D, 8 slices at 256', '--only encoder --adapters 3d --depth 8',
                     '--part encoder --adapters 3d --depth 8', goal=3, onnx=(3, 9500 / 8400), peer_repeat=1),
    'vit_192': Row('width 192, depth 12, at 256', '--only encoder --model vit_192', '--part encoder --model vit_192', goal=4.5),
    'decoder': Row('decoder at 1024, one box', '--only decoder --image-size 1024', '--part decoder --image-size 1024'),
    'decoder_16': Row('decoder at 1024, 16 boxes', '--only decoder_16 --image-size 1024', '--part decoder_16 --image-size 1024', peer_repeat=2),
    'train_step': Row('training step at 256, adapters, batch 1', '--only train_step', '--part train_step', goal=1.7),
    'int8_1024': Row('int8 encoder at 1024', '--only encoder --image-size 1024 --precision int8', goal=1.5,
                     itself='--only encoder --image-size 1024'),
    'int8_256': Row('int8 encoder at 256', '--only encoder --precision int8', goal=1.5, itself='--only encoder'),
    'cached_box': Row('second box on a cached slice, at 1024', '--only cached_box --image-size 1024',
                      itself='--only decoder --image-size 1024'),
}
# What ONNX Runtime took on the machine named above, whose FMA peak was 192 GFLOP/s: (goal, milliseconds).
ONNX_DECODER = {'decoder': (2, 60), 'decoder_16': (3, 870)}
ONNX_PEAK = 192


def one(words):
    """A run of msa bench as a command of --beside: its part's milliseconds on the last line."""
    found = json.loads(subprocess.run(words + ['--json'], check=True, capture_output=True, text=True).stdout)
    part = words[words.index('--only') + 1]
    print('%.3f ms, %.3f of all cores' % (found[part + '_ms'], found[part + '_cpu_ms']))


def command_of(row, a, path):
    ours = [a.msa, 'bench', '--threads', str(a.threads), '--json', path] + row.ours.split()
    for option, value in (('--repeat', a.repeat), ('--turns', a.turns)):
        if value:
            ours += [option, str(value)]
    if row.peer:
        beside = [sys.executable, PEER, '--repeat', str(row.peer_repeat), '--threads', str(a.threads)] + row.peer.split()
    else:
        beside = [sys.executable, os.path.abspath(__file__), '--one', a.msa, 'bench', '--repeat', '3', '--threads',
                  str(a.threads)] + row.itself.split()
    return shlex.split(a.through) + ours + ['--beside', shlex.join(beside)]


def run(key, row, a, path):
    """Through files: what --through leaves behind may hold a pipe open."""
    print('%s: %s' % (key, row.title), file=sys.stderr, flush=True)
    part, said = path + '.part', path + '.stderr'
    try:
        with open(said, 'w', encoding='utf-8') as errors:
            done = subprocess.run(command_of(row, a, part), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                                  timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        print('  took more than %d s' % LIMIT_S, file=sys.stderr)
        return
    if done.returncode == 0 and os.path.exists(part):
        os.replace(part, path)
        os.remove(said)
        return
    with open(said, encoding='utf-8') as errors:
        print('  failed: %s' % (errors.read().strip().splitlines() or ['exit status %d' % done.returncode])[-1], file=sys.stderr)


# ---- the table ----

def goals_of(key, row):
    goals = []
    if row.itself:
        goals.append('%.3g x fp32' % row.goal if row.goal else 'decoder time only')
    elif row.least():
        goals.append('%.3g x PyTorch' % row.goal if row.goal else '')
        if row.onnx:
            goals.append('%.3g x ONNX Runtime (%.2f x PyTorch)' % (row.onnx[0], row.onnx[0] * row.onnx[1]))
    if key in ONNX_DECODER:
        goals.append('%d x ONNX Runtime' % ONNX_DECODER[key][0])
    if row.share:
        goals.append('%.0f %% of the peak' % (100 * row.share))
    if row.memory:
        goals.append('%.0f MiB' % row.memory)
    if key == 'train_step':
        goals.append('less memory')
    return '; '.join(goal for goal in goals if goal)


def misses_of(key, row, found):
    """What is not reached, as a list; nothing means the goal is met."""
    misses = []
    ratio = found['beside_ratio']
    if row.least() and ratio < row.least():
        misses.append('%.2f x of %.2f x' % (ratio, row.least()))
    if key in ONNX_DECODER:
        goal, ms = ONNX_DECODER[key]
        most = ms * ONNX_PEAK / found['fma_peak_gflops'] / goal
        if found[row.part + '_ms'] > most:
            misses.append('more than %.0f ms (its time there, by the machines\' peaks)' % most)
    if row.share and found['fma_peak_share'] < row.share:
        misses.append('%.0f %% of %.0f %%' % (100 * found['fma_peak_share'], 100 * row.share))
    if row.memory and found['peak_rss_mib'] > row.memory:
        misses.append('%.0f MiB' % found['peak_rss_mib'])
    if key == 'train_step' and found['peak_rss_mib'] >= found['beside_peak_rss_mib']:
        misses.append('more memory')
    if key == 'cached_box' and ratio < 0.9:
        misses.append('%.2f x the decoder' % (1 / ratio))
    return misses


def cells_of(key, row, found):
    share = found.get('fma_peak_share')
    ours_cpu, beside_cpu = found.get(row.part + '_cpu_ms'), found.get('beside_cpu_ms')
    cores = '%.2f' % (beside_cpu / ours_cpu) if ours_cpu and beside_cpu else ''
    misses = misses_of(key, row, found)
    return [row.title, goals_of(key, row), '%.1f' % found[row.part + '_ms'], '%.1f' % found['beside_ms'],
            '%.2f' % found['beside_ratio'], cores, '%.0f' % found['peak_rss_mib'], '%.0f' % found['beside_peak_rss_mib'],
            '%.0f' % found['fma_peak_gflops'], '%.0f %%' % (100 * share) if share else '', '; '.join(misses) or 'yes']


def table(folder):
    head = ['case', 'goal', 'ours, ms', 'beside, ms', 'ratio', 'cores', 'MiB', 'beside, MiB', 'FMA peak, GFLOP/s', 'of it', 'met']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    for key, row in ROWS.items():
        path = os.path.join(folder, key + '.json')
        if not os.path.exists(path):
            lines.append('| %s | %s |%s' % (row.title, goals_of(key, row), ' |' * (len(head) - 2)))
            continue
        with open(path, encoding='utf-8') as file:
            lines.append('| ' + ' | '.join(cells_of(key, row, json.load(file))) + ' |')
    return '\n'.join(lines) + '\n'


def main():
    if sys.argv[1:2] == ['--one']:
        return one(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--msa', required=True)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeat', type=int)
    parser.add_argument('--turns', type=int)
    parser.add_argument('--folder', default='bench-table')
    parser.add_argument('--rows', default=','.join(ROWS))
    parser.add_argument('--again', action='store_true')
    parser.add_argument('--through', default='')
    parser.add_argument('--table')
    a = parser.parse_args()
    unknown = [key for key in a.rows.split(',') if key not in ROWS]
    if unknown:
        parser.error('no row %s; there are %s' % (unknown[0], ', '.join(ROWS)))
    a.msa = os.path.abspath(a.msa)
    os.makedirs(a.folder, exist_ok=True)
    for key in a.rows.split(','):
        path = os.path.join(a.folder, key + '.json')
        if a.again or not os.path.exists(path):
            run(key, ROWS[key], a, path)
    text = table(a.folder)
    print(text, end='')
    if a.table:
        with open(a.table, 'w', encoding='utf-8') as file:
            file.write(text)


if __name__ == '__main__':
    main()
