#!/usr/bin/python3
"""Real series from the folder ../shared/data, when it lies beside the repository: geometry and flow, not quality."""
import os
import unittest

import pydicom

import harness

DATA = os.path.join(harness.SHARED, 'data')
CHECK_SEG = os.path.join(harness.SHARED, 'tools', 'check_seg.py')


@unittest.skipUnless(os.path.isdir(DATA), 'no real data beside the repository')
class RealData(harness.Case):
    def finish(self, service, receiver, source):
        """The SEG at the receiver passes every check there is."""
        job = service.wait_job('succeeded', deadline_s=600)
        headers = harness.read_headers(source).values()
        files = receiver.wait_files(len(job['results']))
        for path in files:
            seg = self.assert_valid_seg(path)
            self.assert_geometry(seg, headers)
            if os.path.exists(CHECK_SEG):
                harness.run_tool([CHECK_SEG, path, '--source', source, '--service', '-q'])
        return job

    def ct(self):
        return os.path.join(DATA, 'ct-nlst-sr-boxes', 'ct'), os.path.join(DATA, 'ct-nlst-sr-boxes', 'sr')

    def decompressed(self, folder):
        """The JPEG-LS series as explicit little endian, pixels unchanged."""
        plain = self.path('plain')
        os.makedirs(plain)
        for path in harness.dicom_files(folder):
            harness.run_tool(['dcmdjpls', path, os.path.join(plain, os.path.basename(path))])
        return plain

    def test_ct_with_a_report_of_another_vendor(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], work_threads=2)
        compressed, report = self.ct()
        source = self.decompressed(compressed)
        service.send(source)
        service.send(report)
        job = self.finish(service, receiver, source)
        self.assertGreaterEqual(len(job['segments']), 1)

    def test_ct_as_jpeg_ls(self):
        """dcmsend decompresses when JPEG-LS is refused; either way the result must lie where its source lies."""
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], work_threads=2)
        source, report = self.ct()
        service.send(report)
        service.send(source)
        self.finish(service, receiver, source)

    def test_mr_with_boxes_over_rest(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], work_threads=2)
        source = os.path.join(DATA, 'mr-brain1', 'mr')
        slices = harness.sorted_slices(harness.read_headers(source))
        service.send(source)
        service.wait_job('waiting_prompt')
        reference = pydicom.dcmread(os.path.join(DATA, 'mr-brain1', 'reference-seg.dcm'))
        boxes = []
        for frame, plane in zip(reference.pixel_array, reference.PerFrameFunctionalGroupsSequence):
            if not frame.any():
                continue
            position = [float(v) for v in plane.PlanePositionSequence[0].ImagePositionPatient]
            number = min(range(len(slices)), key=lambda n: sum(
                (a - float(b)) ** 2 for a, b in zip(position, slices[n].ImagePositionPatient)))
            rows, columns = frame.any(axis=1).nonzero()[0], frame.any(axis=0).nonzero()[0]
            # (0,0) is the outer corner of the first pixel, so the last pixel's far corner is one more.
            boxes.append(harness.Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1, number, 'tumour'))
        self.assertGreater(len(boxes), 3)
        service.annotate(harness.boxes_by_slice(str(slices[0].SeriesInstanceUID), boxes))
        job = self.finish(service, receiver, source)
        self.assertEqual([s['label'] for s in job['segments']], ['tumour'])


if __name__ == '__main__':
    harness.main()
