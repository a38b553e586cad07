#!/usr/bin/python3
"""A real OHIF, in a headless Chromium over an Orthanc, shows our segmentation where its images are.

Three times: what OHIF decoded is the mask, voxel by voxel; what it paints over the canvas lies where the mask lies in the
patient, by the canvas's own coordinates; and so does the image below.
"""
import base64
import io
import os

import numpy as np
import pydicom

import viewers
import harness

PICTURE = os.path.join(viewers.OUTPUT, 'ohif.png')


def canvas(shown, key):
    return np.frombuffer(base64.b64decode(shown[key]), np.uint8).reshape(shown['height'], shown['width'], 4)[..., :3].astype(int)


def pixels_of_canvas(shown, header):
    """Row and column of the image under the middle of each pixel of the canvas, by the standard (PS3.3 C.7.6.2.1.1)."""
    origin, right, down = (np.array(c) for c in shown['corners_mm'])
    y, x = np.mgrid[0:shown['height'], 0:shown['width']] + 0.5
    mm = origin + (right - origin) * (x / shown['width'])[..., None] + (down - origin) * (y / shown['height'])[..., None]
    mm -= np.array(header.ImagePositionPatient, float)
    orientation = np.array(header.ImageOrientationPatient, float)
    column = mm @ orientation[:3] / float(header.PixelSpacing[1])
    row = mm @ orientation[3:] / float(header.PixelSpacing[0])
    return np.floor(row + 0.5).astype(int), np.floor(column + 0.5).astype(int)


def look_up(image, places, outside):
    row, column = places
    inside = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
    out = np.full(row.shape, outside, image.dtype)
    out[inside] = image[row[inside], column[inside]]
    return out, inside


class Ohif(harness.Case):
    def setUp(self):
        viewers.need(viewers.CHROMIUM, 'Orthanc', viewers.DICOMWEB_PLUGIN)
        viewers.packages()
        self.dist = viewers.ohif()
        super().setUp()

    def segmented(self):
        """A CT that was segmented and lies in an Orthanc together with its SEG: the Orthanc, the phantom, the SEG."""
        pacs = viewers.Orthanc(self.path('pacs'))
        self.receivers.append(pacs)  # ended with them
        pacs.start()
        service = self.msad(destinations=[pacs])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        job = service.wait_job('succeeded', series_uid=ct.series_uid)
        harness.run_tool(['dcmsend', '-aec', pacs.ae_title, '+sd', '127.0.0.1', pacs.port, ct.folder])
        return pacs, ct, pydicom.dcmread(io.BytesIO(service.result(job)))

    def test_segmentation_lies_on_its_images(self):
        pacs, ct, seg = self.segmented()
        masks = self.volumes(seg, ct.headers)
        box = ct.boxes[0]
        header = ct.headers[box.slice]
        with viewers.Browser('ohif.mjs', self.dist, pacs.http_port, seg.StudyInstanceUID, seg.SeriesNumber,
                             header.SOPInstanceUID, PICTURE) as browser:
            seen = browser.said()
        self.assertEqual(seen['errors'], [])
        self.assertEqual(sorted(seen['labels'].values()), sorted(masks))
        self.check_voxels(seen, masks, ct)
        self.check_overlay(seen['shown'], sum(m[box.slice] for m in masks.values()) > 0, header)
        self.check_image(seen['shown'], ct, header)
        print('picture: %s' % PICTURE)

    def check_voxels(self, seen, masks, ct):
        for k, header in enumerate(ct.headers):
            text = seen['label_maps'].get(header.SOPInstanceUID)
            shape = header.Rows, header.Columns
            values = np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape) if text else np.zeros(shape, np.uint8)
            for number, label in seen['labels'].items():
                wrong = np.argwhere((values == int(number)) != masks[label][k])
                self.assertEqual(wrong[:1].tolist(), [], '%s on slice %d' % (label, k))

    def check_overlay(self, shown, mask, header):
        """What changes on the canvas with the segmentation lies on the mask."""
        painted = np.abs(canvas(shown, 'with') - canvas(shown, 'without')).max(axis=2) > 8
        wanted, _ = look_up(mask, pixels_of_canvas(shown, header), False)
        self.assertGreater(wanted.sum(), 500, 'pixels of the canvas under the mask')
        self.assertGreater(harness.dice(painted, wanted), 0.98)  # a pixel of the image beside it: 0.93
        near = wanted.copy()  # the mask and 3 pixels of the canvas around it
        for _ in range(3):
            near[1:], near[:-1], near[:, 1:], near[:, :-1] = (near[1:] | near[:-1], near[:-1] | near[1:],
                                                              near[:, 1:] | near[:, :-1], near[:, :-1] | near[:, 1:])
        self.assertEqual(np.argwhere(painted & ~near)[:1].tolist(), [], 'painted away from the mask (row, column of the canvas)')

    def check_image(self, shown, ct, header):
        """The canvas without the segmentation is the CT slice at the same place: grey by grey."""
        image = next(d for d in map(pydicom.dcmread, harness.dicom_files(ct.folder)) if d.SOPInstanceUID == header.SOPInstanceUID)
        hu = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        low, high = shown['voi']['lower'], shown['voi']['upper']
        wanted, inside = look_up(255 * np.clip((hu - low) / (high - low), 0, 1), pixels_of_canvas(shown, header), 0)
        got = canvas(shown, 'without').mean(axis=2)
        self.assertGreater(inside.mean(), 0.2, 'of the canvas is the image')
        self.assertGreater(np.corrcoef(got[inside], wanted[inside])[0, 1], 0.985)  # a pixel beside it: 0.975


if __name__ == '__main__':
    harness.main()
