#!/usr/bin/env python3
"""Prompts of stored annotations beside what pydicom makes of the same objects, as a table.

usage: check_prompts.py encodings|real SHOW_PROMPTS SHARED

encodings: boxes over real series in each form of SHARED/tools/make_annot.py. real: the annotations of SHARED/data.
A row: object, series, prompts wanted and read, the greatest difference of a box edge in pixels (areas: boxes of
their pixels on every slice), verdict. Exit 77 without SHARED or pydicom.
"""
import json
import math
import os
import subprocess
import sys
import tempfile

PYTHON = '/usr/bin/python3'
KINDS = ['sr-polyline', 'sr-rect4', 'sr-ohif', 'sr-ellipse', 'sr-circle', 'sr-point', 'sr-bidir', 'sr-scoord3d', 'gsps', 'gsps-display',
         'rtstruct']
SERIES = {'mr-brain1/mr': ((100, 110, 140, 131), 12), 'mr-sagittal-hfs': ((60, 70, 101, 92), 5),
          'ct-tilt-jpeglossless': ((200, 190, 260, 251), 6)}
bad = 0


def show(program, path, series=None):
    done = subprocess.run([program, path] + ([series] if series else []), capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]
    prompts = [line for line in lines if 'kind' in line]
    return prompts, next((line.get('error') or line.get('note') for line in lines if 'kind' not in line), '')


def boxes_of(prompts):
    """(slice, box) of every prompt; an area's on each of its slices."""
    out = []
    for p in prompts:
        if 'slices' in p:
            out += [(s['slice'], s['box']) for s in p['slices']]
        elif 'box' in p:
            out.append((p['slice'], p['box']))
    return sorted(out)


def difference(got, wanted):
    """Greatest difference of an edge; infinite when slices or numbers differ."""
    got, wanted = sorted(got), sorted((k, list(b)) for k, b in wanted)
    if [k for k, _ in got] != [k for k, _ in wanted]:
        return math.inf
    return max((abs(a - b) for (_, g), (_, w) in zip(got, wanted) for a, b in zip(g, w)), default=0)


def row(what, series, wanted, got, worst, tolerance, note=''):
    global bad
    ok = wanted == got and worst <= tolerance
    bad += not ok
    print(f'{what:<48} {series:<22} {wanted:>6} {got:>5} {worst:>9.4f}  {"ok" if ok else "WRONG"}  {note}'.rstrip())


def shape_in(kind, box):
    c0, r0, c1, r1 = box
    cm, rm, half = (c0 + c1) / 2, (r0 + r1) / 2, min(c1 - c0, r1 - r0) / 2
    if kind == 'sr-circle':
        return [cm - half, rm - half, cm + half, rm + half]
    return [cm, rm, cm, rm] if kind == 'sr-point' else box


def encodings(program, shared):
    tool = os.path.join(shared, 'tools', 'make_annot.py')
    with tempfile.TemporaryDirectory() as folder:
        for name, (box, k) in SERIES.items():
            series = os.path.join(shared, 'data', name)
            boxes = [(list(box), k), ([box[0] + 3, box[1], box[2], box[3] - 2], k + 1)]
            for kind in KINDS:
                path = os.path.join(folder, 'a.dcm')
                command = [PYTHON, tool, series, path, '--kind', kind]
                for b, at in boxes:
                    command += ['--box', ','.join(map(str, b)) + f'@{at}']
                subprocess.run(command, check=True, capture_output=True)
                got, note = show(program, path, series)
                wanted = [(at, shape_in(kind, b)) for b, at in boxes]
                number = 1 if kind == 'rtstruct' else 2
                row(kind, name, number, len(got), difference(boxes_of(got), wanted), 1e-4, note)


# Runs under the interpreter that has pydicom: [slice, box] of every area or shape, by segment or group.
TRUTH = r'''
import glob, json, os, sys
import numpy as np, pydicom
path, series = sys.argv[1:3]
d = pydicom.dcmread(path)
images = [pydicom.dcmread(f, stop_before_pixels=True) for f in glob.glob(os.path.join(series, '**'), recursive=True) if os.path.isfile(f)]
images = [i for i in images if i.SOPClassUID in ('1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.5.1.4.1.1.4')]
o = [float(v) for v in images[0].ImageOrientationPatient]
row, col = np.array(o[:3]), np.array(o[3:])
normal = np.cross(row, col)
images.sort(key=lambda i: np.dot(normal, [float(v) for v in i.ImagePositionPatient]))
at = [float(np.dot(normal, [float(v) for v in i.ImagePositionPatient])) for i in images]
spacing = [float(v) for v in images[0].PixelSpacing]
out = []
def slice_at(position):
    k = int(np.argmin([abs(position - a) for a in at]))
    return k if abs(position - at[k]) < 0.1 * abs(at[1] - at[0] if len(at) > 1 else 1) else None
if d.Modality == 'SEG':
    bits = np.unpackbits(np.frombuffer(d.PixelData, np.uint8), bitorder='little')
    n = d.Rows * d.Columns
    for f, g in enumerate(d.PerFrameFunctionalGroupsSequence):
        p = np.array([float(v) for v in g.PlanePositionSequence[0].ImagePositionPatient])
        k = slice_at(float(np.dot(p, normal)))
        m = bits[f * n:(f + 1) * n].reshape(d.Rows, d.Columns)
        if k is None or not m.any():
            continue
        shift = p - np.array([float(v) for v in images[k].ImagePositionPatient])
        x, y = round(float(np.dot(shift, row)) / spacing[1]), round(float(np.dot(shift, col)) / spacing[0])
        r, c = np.nonzero(m)
        out.append([k, [int(c.min()) + x, int(r.min()) + y, int(c.max()) + 1 + x, int(r.max()) + 1 + y]])
else:
    def walk(item):
        if item.get('ValueType') == 'SCOORD':
            g = np.array(item.GraphicData, float).reshape(-1, 2)
            uid = item.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            k = next((i for i, im in enumerate(images) if im.SOPInstanceUID == uid), -1)
            if item.GraphicType == 'CIRCLE':
                radius = float(np.hypot(*(g[1] - g[0])))
                g = np.array([g[0] - radius, g[0] + radius])
            out.append([k, [float(v) for v in (*g.min(0), *g.max(0))]])
        for child in item.get('ContentSequence', []):
            walk(child)
    walk(d)
print(json.dumps(out))
'''


def truth(path, series):
    return [(k, b) for k, b in json.loads(subprocess.run([PYTHON, '-c', TRUTH, path, series], check=True, capture_output=True, text=True).stdout)]


# object, series, prompts, whose truth (None: the object's own; '': only the number), words of the note
REAL = [
    ('ct-nlst-sr-boxes/sr/0001.dcm', 'ct-nlst-sr-boxes/ct', 8, None, ''),
    ('highdicom/sr_document.dcm', 'highdicom', 1, None, ''),
    ('highdicom/sr_document_with_multiple_groups.dcm', 'highdicom', 3, '', ''),
    ('annotations-small/structured_report.dcm', '', 4, '', 'a length'),
    ('annotations-small/test-SR.dcm', '', 0, '', 'names no image'),
    ('annotations-small/reportsi.dcm', '', 0, '', 'not taken'),
    ('annotations-small/rtstruct.dcm', '', 0, '', ''),
    ('pet-sr-tid1500-seg/sr.dcm', '', 0, '', 'refers to a segmentation'),
    ('pet-sr-tid1500-seg/seg.dcm', '', 1, '', ''),
    ('ct-4dlung-rtstruct/rtstruct/rtstruct.dcm', 'ct-4dlung-rtstruct/ct', 4, 'ct-4dlung-rtstruct/reference-seg.dcm', ''),
    ('ct-4dlung-rtstruct/reference-seg.dcm', 'ct-4dlung-rtstruct/ct', 2, None, ''),
    ('mr-brain1/reference-seg.dcm', 'mr-brain1/mr', 1, None, ''),
    ('ct-3slice-seg/seg/liver.dcm', 'ct-3slice-seg/ct', 1, None, ''),
    ('ct-3slice-seg/seg/liver_expb.dcm', 'ct-3slice-seg/ct', 1, 'ct-3slice-seg/seg/liver.dcm', ''),
    ('ct-3slice-seg/seg/liver_rle.dcm', 'ct-3slice-seg/ct', 1, 'ct-3slice-seg/seg/liver.dcm', ''),
    ('ct-3slice-seg/seg/liver_deflate.dcm', 'ct-3slice-seg/ct', 1, 'ct-3slice-seg/seg/liver.dcm', ''),
    ('ct-3slice-seg/seg/liver_nonbyte_aligned.dcm', 'ct-3slice-seg/ct', 1, None, ''),
    ('ct-3slice-seg/seg/partial_overlaps.dcm', 'ct-3slice-seg/ct', 5, None, ''),
    ('ct-3slice-seg/seg/sparse-labelmap-noppv.dcm', '', 1, '', ''),
    ('ct-3slice-seg/seg/sparse-labelmap-ppv5.dcm', '', 1, '', ''),
    ('highdicom/seg_image_ct_binary_single_frame.dcm', 'highdicom', 1, None, ''),
    ('highdicom/seg_image_ct_binary_overlap.dcm', '', 2, '', ''),
    ('highdicom/seg_image_ct_true_fractional.dcm', '', 1, '', ''),
    ('highdicom/seg_image_cr_binary.dcm', '', 1, '', ''),
]


def real(program, shared):
    for path, series, number, whose, words in REAL:
        full, at = os.path.join(shared, 'data', path), os.path.join(shared, 'data', series) if series else None
        got, note = show(program, full, at)
        worst = 0.0
        if whose != '':
            # the structure set has two regions more than its reference has segments
            compared = [p for p in got if not p['label'].startswith(('Carina', 'Vertebra'))]
            worst = difference(boxes_of(compared), truth(os.path.join(shared, 'data', whose) if whose else full, at))
        if words not in note:
            worst = math.inf
        row(path, series, number, len(got), worst, 1e-4, note)


def main():
    what, program, shared = sys.argv[1:4]
    if not os.path.isdir(os.path.join(shared, 'data')) or subprocess.run([PYTHON, '-c', 'import pydicom, numpy'], capture_output=True).returncode:
        print('no shared data or no pydicom: nothing to compare with')
        return 77
    print(f'{"annotation":<48} {"series":<22} {"wanted":>6} {"read":>5} {"edge, px":>9}')
    (encodings if what == 'encodings' else real)(program, shared)
    print(f'{bad} wrong')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
