#!/usr/bin/python3
"""msa eval: cases of every kind are found, prompts and scores are what numpy makes of the same masks."""
import gzip
import json
import os
import struct

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

import harness
from harness import dice, filled

WRITE_SEG = os.path.join(harness.BUILD, 'tests', 'unit', 'seg', 'write_seg')


def write_nifti(path, array, spacing=(1.0, 1.0, 1.0), volumes=1):
    """array (D, H, W), int16, axial slices: rows to the back, columns to the left (NIfTI's own axes are RAS).
    With several volumes: (volumes, D, H, W)."""
    depth, rows, cols = array.shape[-3:]
    header = struct.pack('<i36x8h14xhh2x8ff', 348, 3 if volumes == 1 else 4, cols, rows, depth, volumes, 1, 1, 1, 4, 16,
                         1.0, spacing[2], spacing[1], spacing[0], 1, 1, 1, 1, 352.0)
    header += struct.pack('<ff', 1.0, 0.0).ljust(252 - 112, b'\0') + struct.pack('<hh', 0, 1)
    header = header.ljust(280, b'\0') + struct.pack('<12f', -spacing[2], 0, 0, 0, 0, -spacing[1], 0, 0, 0, 0, spacing[0], 0)
    header = header.ljust(344, b'\0') + b'n+1\0' + b'\0' * 4
    with gzip.open(path, 'wb') as file:
        file.write(header + array.astype('<i2').tobytes())


def blocks():
    """An image and labels that are boxes: a big one, two of one label on the same slices, a small one."""
    labels = np.zeros((9, 48, 64), np.int16)
    labels[1:8, 5:20, 6:30] = 1
    labels[2:6, 25:40, 4:14] = 7
    labels[2:6, 30:45, 40:60] = 7
    labels[4, 2:4, 50:60] = 3
    image = np.where(labels > 0, 80 * labels, -300) + np.arange(labels.size).reshape(labels.shape) * 7919 % 40
    image[0, 0, 0] = -1000
    return image, labels


class MsaEval(harness.Case):
    def eval(self, *arguments, wanted=0):
        return harness.run_tool([os.path.join(harness.BUILD, 'msa'), 'eval', *arguments], wanted, cwd=self.folder)

    def report(self, *arguments):
        path = self.path('report.json')
        said = self.eval(*arguments, '--json', path).stdout
        with open(path, encoding='utf-8') as file:
            return json.load(file), said

    def nifti_case(self, folder, names=True):
        image, labels = blocks()
        os.makedirs(folder)
        write_nifti(os.path.join(folder, 'image.nii.gz'), image, (3, 1.5, 1))
        write_nifti(os.path.join(folder, 'labels.nii.gz'), labels, (3, 1.5, 1))
        if names:
            with open(os.path.join(folder, 'labels.json'), 'w', encoding='utf-8') as file:
                json.dump({'7': 'kidneys', '1': 'liver', '3': 'nodule', '9': 'absent'}, file)
        return labels

    def phantom(self, folder, *options):
        return harness.Phantom(folder, '--rows', '48', '--cols', '62', '--slices', '7', *options)

    def test_boxes_are_found_whole(self):
        labels = self.nifti_case(self.path('data', 'one'))
        report, said = self.report('--baseline', 'filled', '--data', self.path('data'))
        self.assertEqual(report['mean_dice'], 1)
        self.assertEqual(report['baseline'], 'filled')
        self.assertEqual(report['prompt'], 'box')
        self.assertEqual([c['name'] for c in report['cases']], ['one'])
        case = report['cases'][0]
        self.assertEqual(case['mean_dice'], 1)
        self.assertEqual([l['name'] for l in case['labels']], ['kidneys', 'liver', 'nodule'])
        for label, value in zip(case['labels'], (7, 1, 3)):
            self.assertEqual(label['voxels'], int((labels == value).sum()))
            self.assertEqual((label['dice'], label['iou'], label['slice_dice'], label['hd95']), (1, 1, 1, 0))
            self.assertEqual(label['averaged'], label['voxels'] >= 300)
        self.assertRegex(said, r'nodule +\*20 ')
        self.assertIn('mean of 2 labels', said)

    def test_one_box_around_two_parts(self):
        labels = self.nifti_case(self.path('data'), names=False)
        report, _ = self.report('--baseline', 'filled', '--data', self.path('data'), '--whole')
        case = report['cases'][0]
        self.assertEqual(case['name'], 'data')
        self.assertEqual([l['name'] for l in case['labels']], ['label 1', 'label 3', 'label 7'])
        mask = labels == 7
        self.assertAlmostEqual(case['labels'][2]['dice'], dice(filled(mask), mask), places=8)
        self.assertAlmostEqual(case['mean_dice'], (1 + case['labels'][2]['dice']) / 2, places=8)
        self.assertGreater(case['labels'][2]['hd95'], 1)

    def test_otsu_finds_bright_boxes_in_larger_ones(self):
        self.nifti_case(self.path('data'))
        otsu, _ = self.report('--baseline', 'otsu', '--data', self.path('data'), '--prompt', 'box0.5')
        fill, _ = self.report('--baseline', 'filled', '--data', self.path('data'), '--prompt', 'box0.5')
        again, _ = self.report('--baseline', 'filled', '--data', self.path('data'), '--prompt', 'box0.5')
        other, _ = self.report('--baseline', 'filled', '--data', self.path('data'), '--prompt', 'box0.5', '--seed', '2')
        self.assertEqual(fill, again)
        self.assertNotEqual(fill['mean_dice'], other['mean_dice'])
        self.assertAlmostEqual(fill['mean_iou'], 0.5, delta=0.15)  # of pixels, where the boxes' own is 0.5
        self.assertGreater(otsu['mean_dice'], fill['mean_dice'])

    def test_series_with_segmentations(self):
        """Two SEGs of one series beside it; a second series without any is no case."""
        data = self.path('data')
        os.makedirs(os.path.join(data, 'patient', 'seg'))
        self.phantom(os.path.join(data, 'patient', 'ct'))
        self.phantom(os.path.join(data, 'other'), '--seed', '5')
        harness.run_tool([WRITE_SEG, os.path.join(data, 'patient', 'ct'), os.path.join(data, 'patient', 'seg')])
        with open(os.path.join(data, 'patient', 'seg', 'masks.txt'), encoding='utf-8') as file:
            lines = file.read().split('\n')
        count, depth, rows, cols = map(int, lines[0].split())
        raw = np.fromfile(os.path.join(data, 'patient', 'seg', 'masks.raw'), np.uint8)
        masks = dict(zip(lines[1:1 + count], raw.reshape(count, depth, rows, cols).astype(bool)))
        report, _ = self.report('--baseline', 'filled', '--data', data)
        self.assertEqual([c['name'] for c in report['cases']], ['patient/ct'])
        labels = {l['name']: l for l in report['cases'][0]['labels']}
        self.assertEqual(set(labels), {'liver', 'Kidney_left', 'lesion'})
        for name, label in labels.items():
            self.assertEqual(label['voxels'], int(masks[name].sum()))
            self.assertAlmostEqual(label['dice'], dice(filled(masks[name]), masks[name]), places=8)
        # The folder of the images alone: what lies beside it is found; and through a link.
        alone, _ = self.report('--baseline', 'filled', '--data', os.path.join(data, 'patient', 'ct'))
        self.assertEqual(alone['cases'][0]['labels'], report['cases'][0]['labels'])
        self.assertEqual(alone['cases'][0]['name'], 'ct')
        os.makedirs(self.path('linked'))
        os.symlink(os.path.join(data, 'patient'), self.path('linked', 'case'))
        linked, _ = self.report('--baseline', 'filled', '--data', self.path('linked'))
        self.assertEqual(linked['mean_dice'], report['mean_dice'])

    def put(self, image, label, array=None, volumes=1):
        """One image and its labels, in folders that are made."""
        values, labels = blocks()
        for path in (image, label):
            os.makedirs(os.path.dirname(self.path('data', path)), exist_ok=True)
        write_nifti(self.path('data', image), values if array is None else array, (3, 1.5, 1), volumes)
        write_nifti(self.path('data', label), labels, (3, 1.5, 1))

    def test_sets_as_they_come(self):
        """The Decathlon's and AMOS' folders, nnU-Net's channels, several volumes in one file, BTCV's names."""
        values, labels = blocks()
        self.put('amos/imagesTr/amos_0001.nii.gz', 'amos/labelsTr/amos_0001.nii.gz')
        self.put('amos/imagesTr/amos_0002.nii.gz', 'amos/labelsTr/amos_0002.nii.gz')
        self.put('amos/imagesVa/amos_0003.nii.gz', 'amos/labelsVa/amos_0003.nii.gz')
        os.makedirs(self.path('data', 'amos', 'imagesTs'))
        write_nifti(self.path('data', 'amos', 'imagesTs', 'amos_0004.nii.gz'), values)  # nobody labelled it
        with open(self.path('data', 'amos', 'labelsTr', '._amos_0001.nii.gz'), 'w', encoding='utf-8') as file:
            file.write('as macOS leaves them')
        with open(self.path('data', 'amos', 'dataset.json'), 'w', encoding='utf-8') as file:
            json.dump({'labels': {'0': 'background', '1': 'liver', '7': 'kidneys'}, 'modality': {'0': 'CT'}}, file)
        self.put('nnunet/imagesTr/hip_0000.nii.gz', 'nnunet/labelsTr/hip.nii.gz')
        write_nifti(self.path('data', 'nnunet', 'imagesTr', 'hip_0001.nii.gz'), values, (3, 1.5, 1))
        with open(self.path('data', 'nnunet', 'dataset.json'), 'w', encoding='utf-8') as file:
            json.dump({'labels': {'background': 0, 'femur': 1, 'both': [1, 3, 7]}, 'channel_names': {'0': 'T1'}}, file)
        self.put('task01/imagesTr/a.nii.gz', 'task01/labelsTr/a.nii.gz', np.stack([values, -values, values]), 3)
        self.put('btcv/img/img0001.nii.gz', 'btcv/label/label0001.nii.gz')
        os.makedirs(self.path('data', 'lonely', 'imagesTr'))
        os.makedirs(self.path('data', 'lonely', 'labelsTr'))
        write_nifti(self.path('data', 'lonely', 'labelsTr', 'b.nii.gz'), labels)
        report, said = self.report('--baseline', 'filled', '--data', self.path('data'))
        self.assertIn('labelsTr/b.nii.gz has no image in imagesTr', said)
        cases = {c['name']: [l['name'] for l in c['labels']] for c in report['cases']}
        plain = ['label 1', 'label 3', 'label 7']
        self.assertEqual(cases, {
            'amos/amos_0001': ['liver', 'kidneys'], 'amos/amos_0002': ['liver', 'kidneys'],
            'amos/amos_0003': ['liver', 'kidneys'],
            'btcv/0001': plain, 'nnunet/hip': ['femur', 'label 3', 'label 7'],
            'nnunet/hip (2)': ['femur', 'label 3', 'label 7'],
            'task01/a': plain, 'task01/a (2)': plain, 'task01/a (3)': plain})
        self.assertEqual(report['mean_dice'], 1)

    def write_rtstruct(self, path, series, slices, corners):
        """One ROI, a rectangle given by pixel edges x0, y0, x1, y1 on some slices."""
        head = series.headers[0]
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = '1.2.840.10008.5.1.4.1.1.481.3', '1.2.3.4.5'
        data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = head.StudyInstanceUID, '1.2.3.4.6', 'RTSTRUCT'
        reference, study, of_series = Dataset(), Dataset(), Dataset()
        of_series.SeriesInstanceUID = head.SeriesInstanceUID
        study.RTReferencedSeriesSequence = Sequence([of_series])
        reference.FrameOfReferenceUID = head.FrameOfReferenceUID
        reference.RTReferencedStudySequence = Sequence([study])
        data.ReferencedFrameOfReferenceSequence = Sequence([reference])
        roi, contours = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = 3, 'target'
        data.StructureSetROISequence = Sequence([roi])
        contours.ReferencedROINumber, contours.ContourSequence = 3, Sequence()
        for k in slices:
            origin = np.array(series.headers[k].ImagePositionPatient, float)
            row, col = np.array(head.ImageOrientationPatient[:3], float), np.array(head.ImageOrientationPatient[3:], float)
            x0, y0, x1, y1 = corners
            points = [origin + (x - 0.5) * head.PixelSpacing[1] * row + (y - 0.5) * head.PixelSpacing[0] * col
                      for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = 'CLOSED_PLANAR', 4
            contour.ContourData = ['%.6f' % v for p in points for v in p]
            contours.ContourSequence.append(contour)
        data.ROIContourSequence = Sequence([contours])
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.is_little_endian, data.is_implicit_VR = True, False
        data.save_as(path, write_like_original=False)

    def test_series_with_contours(self):
        data = self.path('data')
        for orientation in ('axial', 'oblique'):
            folder = os.path.join(data, orientation)
            series = self.phantom(folder, '--orientation', orientation, '--seed', str(len(orientation)))
            self.write_rtstruct(os.path.join(folder, 'contours.dcm'), series, (2, 3, 4), (10, 8, 31, 27))
        report, _ = self.report('--baseline', 'filled', '--data', data)
        self.assertEqual([c['name'] for c in report['cases']], ['axial', 'oblique'])
        for case in report['cases']:
            self.assertEqual([(l['name'], l['voxels'], l['dice']) for l in case['labels']], [('target', 3 * 21 * 19, 1)])
        self.assertEqual(report['mean_dice'], 1)

    def test_a_model_is_asked(self):
        self.nifti_case(self.path('data', 'one'))
        pictures = self.path('pictures')
        for prompt in ('box', 'point1', 'point3', 'box0.75', 'box0.5', 'middle-box'):
            report, said = self.report('default', '--data', self.path('data'), '--prompt', prompt,
                                       '--threads', '1', '--overlays', pictures)
            again, _ = self.report('default', '--data', self.path('data'), '--prompt', prompt, '--threads', '2')
            self.assertEqual(report, again, prompt)
            self.assertNotIn('untrained', said)
            self.assertRegex(report['model_sha256'], '^[0-9a-f]{64}$')
            for label in report['cases'][0]['labels']:
                self.assertTrue(0 <= label['iou'] <= label['dice'] <= 1, prompt)
                self.assertEqual(label['hd95'] is None, label['voxels_found'] == 0)
        names = sorted(os.listdir(pictures))
        self.assertEqual({n.split('-', 2)[2] for n in names}, {'one-kidneys.png', 'one-liver.png'})
        for name in names:
            with open(os.path.join(pictures, name), 'rb') as file:
                self.assertEqual(file.read(8), b'\x89PNG\r\n\x1a\n')

    def test_an_untrained_model_says_so(self):
        self.nifti_case(self.path('data', 'one'))
        _, said = self.report(harness.untrained_model(), '--data', self.path('data'))
        self.assertIn('untrained', said)

    def test_an_adapter_changes_the_model(self):
        self.nifti_case(self.path('data', 'one'))
        recipe = self.path('recipe.yaml')
        with open(recipe, 'w', encoding='utf-8') as file:
            file.write('base: %s\nout: %s\nsteps: 2\nbatch: 1\nlr: 0.01\nrounds: 1\n' %
                       (harness.bundled_model(), self.path('trained')))
        harness.run_tool([os.path.join(harness.BUILD, 'msa'), 'train', recipe], cwd=self.folder)
        adapter = self.path('trained', 'adapter.safetensors')
        plain, _ = self.report('default', '--data', self.path('data'))
        adapted, said = self.report('default', '--data', self.path('data'), '--adapter', adapter)
        self.assertEqual(adapted['adapter'], adapter)
        self.assertNotEqual(plain['model_sha256'], adapted['model_sha256'])
        self.assertNotEqual(plain['cases'], adapted['cases'])
        self.assertIn('adapter', said)
        refused = self.eval('default', '--data', self.path('data'), '--adapter', harness.bundled_model(), wanted=65)
        self.assertIn('not an adapter', refused.stdout)

    def test_errors_are_sentences(self):
        data, empty = self.path('data'), self.path('empty')
        self.nifti_case(data)
        os.makedirs(empty)
        bad = self.path('bad')
        self.nifti_case(bad)
        write_nifti(os.path.join(bad, 'labels.nii.gz'), np.zeros((2, 3, 4)))
        two = self.path('two')
        self.nifti_case(two)
        os.rename(os.path.join(two, 'labels.json'), os.path.join(two, 'second.nii'))
        unlabelled = self.path('unlabelled')
        self.phantom(unlabelled)
        fill = ('--baseline', 'filled')
        for code, mention, arguments in (
                (64, 'MODEL is missing', ('--data', data)),
                (64, '--data DIR is missing', ('default',)),
                (64, 'one argument too many', ('default', 'x', '--data', data)),
                (64, 'one argument too many', ('default', *fill, '--data', data)),
                (64, '--prompt is', ('default', '--data', data, '--prompt', 'boxes')),
                (64, '--baseline is', ('--baseline', 'x', '--data', data)),
                (64, 'box on every slice', (*fill, '--data', data, '--prompt', 'middle-box')),
                (64, 'box on every slice', (*fill, '--data', data, '--prompt', 'point1')),
                (64, 'takes no --adapter', (*fill, '--data', data, '--adapter', 'x')),
                (64, 'from 1 to 64', ('default', '--data', data, '--threads', '0')),
                (64, 'no option', ('default', '--data', data, '--unknown')),
                (64, 'needs a value', ('default', '--data')),
                (66, 'nowhere', (*fill, '--data', self.path('nowhere'))),
                (66, 'no readable model', (self.path('nowhere'), '--data', data)),
                (66, 'is a file', (*fill, '--data', os.path.join(data, 'labels.json'))),
                (66, 'there is no case', (*fill, '--data', empty)),
                (66, 'there is no case', (*fill, '--data', unlabelled)),
                (65, 'case bad', (*fill, '--data', bad)),
                (65, 'two NIfTI images', (*fill, '--data', two)),
                (66, 'cannot write', (*fill, '--data', data, '--json', os.path.join(empty, 'x', 'y.json'))),
                (66, 'cannot make', (*fill, '--data', data, '--overlays', os.path.join(data, 'labels.json', 'x')))):
            said = self.eval(*arguments, wanted=code).stdout
            self.assertIn(mention, said, arguments)
        self.assertIn('middle-box', self.eval('--help').stdout)


if __name__ == '__main__':
    harness.main()
