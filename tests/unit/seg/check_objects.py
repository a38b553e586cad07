#!/usr/bin/env python3
"""SEG objects under foreign eyes: dciodvfy, dcmdump, pydicom and, when it is there, check_seg.py.

usage: check_objects.py synthetic|real WRITE_SEG MAKE_SERIES SHARED

Writes a SEG over each synthetic series, in every form, or over each real series below SHARED/data, and looks at it. SHARED need not
be there. Says which tools and series are absent; exit 77 when that leaves nothing to do.
"""
import os
import shutil
import subprocess
import sys
import tempfile

SR_CLASS, SR_UID = '1.2.840.10008.5.1.4.1.1.88.34', '1.2.826.0.1.3680043.1.2.3'
PYTHON = next((p for p in ('/usr/bin/python3', sys.executable)
               if subprocess.run([p, '-c', 'import pydicom, numpy'], capture_output=True).returncode == 0), None)

SYNTHETIC = {
    'ct-axial': ['--modality', 'CT', '--rows', '64', '--cols', '72', '--slices', '9'],
    'ct-odd': ['--modality', 'CT', '--rows', '23', '--cols', '37', '--slices', '5'],
    'mr-sagittal': ['--modality', 'MR', '--rows', '61', '--cols', '48', '--slices', '7', '--orientation', 'sagittal'],
    'mr-oblique': ['--modality', 'MR', '--rows', '40', '--cols', '40', '--slices', '6', '--orientation', 'oblique', '--spacing', '1.5,2.25'],
    'single': ['--modality', 'CT', '--rows', '33', '--cols', '31', '--slices', '1'],
    'gap': ['--modality', 'CT', '--rows', '32', '--cols', '32', '--slices', '8', '--gap', '3'],
}
REAL = ['ct-nlst-sr-boxes/ct', 'mr-brain1/mr', 'ct-4dlung-rtstruct/ct', 'tiny-23x38x3', 'mr-sagittal-hfs', 'ct-tilt-jpeglossless']

# Runs under the interpreter that has pydicom: every mask as it went in, every word of the geometry as the source has it.
READ = r'''
import glob, json, os, sys
import numpy as np, pydicom
out, source, syntax = sys.argv[1], sys.argv[2], sys.argv[4]
lines = open(os.path.join(out, 'masks.txt'), encoding='utf-8').read().splitlines()
n, slices, rows, cols = map(int, lines[0].split())
labels, uids = lines[1:1 + n], lines[1 + n:]
want = np.fromfile(os.path.join(out, 'masks.raw'), np.uint8).reshape(n, slices, rows, cols)
fractions = np.fromfile(os.path.join(out, 'fractions.raw'), np.uint8).reshape(n, slices, rows, cols)
images = {}
for folder, _, names in os.walk(source):
    for name in names:
        try:
            d = pydicom.dcmread(os.path.join(folder, name), stop_before_pixels=True)
            images[str(d.SOPInstanceUID)] = d
        except Exception:
            pass
got, series = np.zeros_like(want), set()
files = sorted(glob.glob(os.path.join(out, 'seg*.dcm')))
for path in files:
    d = pydicom.dcmread(path)
    assert d.file_meta.TransferSyntaxUID == syntax and d.preamble == bytes(128)
    assert d.file_meta.ImplementationVersionName.startswith('MSAD')
    series.add(d.SeriesInstanceUID)
    pixels = d.pixel_array.reshape(int(d.NumberOfFrames), rows, cols)
    assert len(d.PerFrameFunctionalGroupsSequence) == d.NumberOfFrames
    names = {s.SegmentNumber: s.SegmentLabel for s in d.SegmentSequence}
    for frame, groups in zip(pixels, d.PerFrameFunctionalGroupsSequence):
        uid = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        image, shared = images[uid], d.SharedFunctionalGroupsSequence[0]
        assert [str(v) for v in groups.PlanePositionSequence[0].ImagePositionPatient] == [str(v) for v in image.ImagePositionPatient]
        assert [float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient] == [float(v) for v in image.ImageOrientationPatient]
        assert [str(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing] == [str(v) for v in image.PixelSpacing]
        slice = uids.index(uid)
        if d.SegmentationType == 'LABELMAP':
            assert frame.max() <= len(names)
            for number, label in names.items():
                got[labels.index(label), slice] = frame == number
            continue
        segment = labels.index(names[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber])
        at = got[segment, slice]
        assert not at.any(), 'two frames for %s' % labels[segment]
        if d.SegmentationType == 'FRACTIONAL':
            assert (frame == (fractions[segment, slice] if want[segment, slice].any() else 0)).all()
            frame = frame > 127
        at[:] = frame
    assert d.SourceInstanceSequence[0].ReferencedSOPInstanceUID == sys.argv[3]
    listed = {i.ReferencedSOPInstanceUID for i in d.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert listed == {g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for g in d.PerFrameFunctionalGroupsSequence}
assert len(series) == (len(files) if sys.argv[5] == 'ohif' else 1)
wrong = np.argwhere(got != want)
assert len(wrong) == 0, 'first wrong voxel (segment, slice, row, column) %s of %d' % (wrong[0], len(wrong))
print('%d files, %d set voxels' % (len(files), int(want.sum())))
'''

EXPLICIT, DEFLATED, RLE = '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.1.99', '1.2.840.10008.1.2.5'
# Format, profile, compression, empty frames: files that come of it, and the transfer syntax.
FORMS = {
    ('binary', 'strict', 'none', '0'): (2, EXPLICIT),
    ('binary', 'ohif', 'none', '1'): (2, EXPLICIT),
    ('binary', 'slicer', 'deflate', '0'): (1, DEFLATED),
    ('binary', 'weasis', 'none', '0'): (2, EXPLICIT),
    ('fractional', 'strict', 'none', '0'): (2, EXPLICIT),
    ('fractional', 'slicer', 'rle', '1'): (1, RLE),
    ('labelmap', 'strict', 'none', '0'): (2, EXPLICIT),
    ('labelmap', 'ohif', 'rle', '0'): (2, RLE),
    ('labelmap', 'strict', 'deflate', '1'): (2, DEFLATED),
}
# What dciodvfy of 2022 says of label maps, which are younger.
UNKNOWN = ('Information Object Not found',)
USUAL = ('binary', 'strict', 'none', '0')

failures = []


def run(*argv):
    p = subprocess.run(list(argv), capture_output=True, text=True, errors='replace')
    return p.returncode, p.stdout + p.stderr


def expect(name, what, good, text=''):
    if not good:
        failures.append(name)
        print('FAIL %s: %s\n%s' % (name, what, text))


def check(name, source, tools, shared, form=USUAL):
    out = tempfile.mkdtemp(prefix='msad-seg-')
    wanted, syntax = FORMS[form]
    if form != USUAL:
        name += ' ' + '-'.join(form)
    try:
        code, text = run(tools['write_seg'], source, out, SR_CLASS, SR_UID, *form)
        expect(name, 'write_seg', code == 0, text)
        if code != 0:
            return
        files = sorted(f for f in os.listdir(out) if f.endswith('.dcm'))
        expect(name, 'the overlapping segment has an object of its own, or has not', len(files) == wanted, str(files))
        for path in (os.path.join(out, f) for f in files):
            if tools['dciodvfy'] and (syntax != DEFLATED or tools['dcmconv']):
                plain = path
                if syntax == DEFLATED:  # Debian's dciodvfy has no zlib
                    plain = os.path.join(out, 'inflated')
                    code, text = run(tools['dcmconv'], '+te', path, plain)
                    expect(name, 'dcmconv', code == 0, text)
                code, text = run(tools['dciodvfy'], '-new', plain)
                lines = text.splitlines()
                # one of 2022 does not know label maps
                known = 'Segmentation' in lines or form[0] == 'labelmap'
                errors = [x for x in lines if x.startswith('Error') and not (form[0] == 'labelmap' and any(y in x for y in UNKNOWN))]
                expect(name, 'dciodvfy', known and not errors, text)
                notes = [x for x in lines if x.startswith('Warning') and 'DICOMDIR' not in x and 'Retired Person Name' not in x]
                expect(name, 'dciodvfy warns', not notes, '\n'.join(notes))
            if tools['dcmdump']:
                code, text = run(tools['dcmdump'], path)
                expect(name, 'dcmdump', code == 0 and '\nW:' not in text and '\nE:' not in text, text[-2000:])
            script = os.path.join(shared, 'tools', 'check_seg.py')
            if os.path.exists(script) and PYTHON:
                code, text = run(PYTHON, script, path, '--source', source, '--service', '-q')
                # steps differ, so no spacing between slices may be claimed; what was asked for is no surprise
                allowed = (['SpacingBetweenSlices'] if name.startswith('gap') else []) + (['frames are empty'] if form[3] == '1' else []) + \
                    (['Label Map Segmentation: many'] if form[0] == 'labelmap' else [])
                warned = [x for x in text.splitlines() if x.startswith('WARN') and not any(y in x for y in allowed)]
                expect(name, 'check_seg', code == 0 and not warned, text)
        if PYTHON:
            code, text = run(PYTHON, '-c', READ, out, source, SR_UID, syntax, form[1])
            expect(name, 'pydicom', code == 0, text)
        print('ok   %s' % name if name not in failures else 'FAIL %s' % name)
    finally:
        shutil.rmtree(out)


def check_synthetic(make_series, tools, shared):
    for name, options in SYNTHETIC.items():
        source = tempfile.mkdtemp(prefix='msad-series-')
        try:
            code, text = run(make_series, '--out', source, *options)
            expect(name, 'make_series', code == 0, text)
            for form in FORMS if code == 0 else ():
                check(name, source, tools, shared, form)
        finally:
            shutil.rmtree(source)
    return len(SYNTHETIC)


def check_real(tools, shared):
    there = [part for part in REAL if os.path.isdir(os.path.join(shared, 'data', part))]
    for part in sorted(set(REAL) - set(there)):
        print('skipped: no real series %s here' % part)
    for part in there:
        folder = os.path.join(shared, 'data', part)
        with tempfile.TemporaryDirectory(prefix='msad-series-') as one:  # mf.dcm is a series again, as one object
            for name in os.listdir(folder):
                if name != 'mf.dcm':
                    os.symlink(os.path.abspath(os.path.join(folder, name)), os.path.join(one, name))
            check(part, one, tools, shared)
    return len(there)


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in ('synthetic', 'real'):
        raise SystemExit(__doc__)
    mode, write_seg, make_series, shared = sys.argv[1:]
    tools = {'write_seg': write_seg, 'dciodvfy': shutil.which('dciodvfy'), 'dcmdump': shutil.which('dcmdump'), 'dcmconv': shutil.which('dcmconv')}
    for name, there in (('dciodvfy', tools['dciodvfy']), ('dcmdump', tools['dcmdump']), ('pydicom', PYTHON)):
        if not there:
            print('skipped: %s is not installed' % name)
    if not (tools['dciodvfy'] or tools['dcmdump'] or PYTHON):
        sys.exit(77)
    done = check_synthetic(make_series, tools, shared) if mode == 'synthetic' else check_real(tools, shared)
    sys.exit(1 if failures else 0 if done else 77)


if __name__ == '__main__':
    main()
