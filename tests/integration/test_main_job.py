#!/usr/bin/python3
"""The main job: images and annotations in, in either order, and a segmentation out at a foreign receiver."""
import io

import pydicom

import harness


SR_CLASS = '1.2.840.10008.5.1.4.1.1.88.34'


class MainJob(harness.Case):
    def msad(self, *arguments, **settings):
        return super().msad(*arguments, result_report=True, **settings)

    def finish(self, service, receiver, headers, labels, untrained=False):
        """Waits for the job and holds everything that it made to what it must be; returns it."""
        job = service.wait_job('succeeded', series_uid=str(headers[0].SeriesInstanceUID))
        self.assertEqual(len(job['results']), len(receiver.wait_files(len(job['results']))))
        found = set()
        reports = [r for r in job['results'] if r['sop_class_uid'] == SR_CLASS]
        self.assertEqual(len(reports), 1)
        for result in job['results']:
            path = next(p for p in receiver.files() if result['sop_instance_uid'] in p)
            if result in reports:
                self.assert_valid_report(path, job)
                continue
            seg = self.assert_valid_seg(path)
            self.assert_geometry(seg, headers)
            self.assertEqual('untrained' in seg.SeriesDescription, untrained)
            self.assertEqual(seg.SeriesInstanceUID, result['series_instance_uid'])
            self.assertEqual([m.any() for s in self.masks(seg).values() for m in s.values()].count(False), 0,
                             'a frame without a single pixel')
            found |= {s.SegmentLabel for s in seg.SegmentSequence}
        self.assertEqual(found, set(labels))
        first = next(p for p in receiver.files() if job['results'][0]['sop_instance_uid'] in p)
        self.assertEqual(harness.dataset_bytes(first), harness.dataset_bytes(service.result(job)))
        self.check_rest(service, job, headers, labels)
        self.assertIs(job['model']['untrained'], untrained)
        self.assertEqual([m['untrained'] for m in service.json('/v1/models')['models'] if m['kind'] == 'base'], [untrained])
        return job

    def check_rest(self, service, job, headers, labels):
        self.assertEqual(len(job['model']['hash']), 64)
        self.assertEqual(job['attempt'], 1)
        self.assertEqual(job['study_instance_uid'], headers[0].StudyInstanceUID)
        self.assertEqual({s['label'] for s in job['segments']}, set(labels))
        for segment in job['segments']:
            self.assertGreater(segment['voxels'], 0)
            self.assertGreater(segment['volume_ml'], 0)
            self.assertLessEqual(segment['first_slice'], segment['last_slice'])
        self.assertEqual([d['state'] for d in job['deliveries']], ['delivered'] * len(job['results']))
        preview = service.get('/v1/jobs/%s/preview.png' % job['id'])
        self.assertEqual((preview.status, preview.headers['Content-Type']), (200, 'image/png'))
        self.assertEqual(preview.body[:8], b'\x89PNG\r\n\x1a\n')
        self.assertGreater(len(preview.body), 500)
        self.assertEqual([j['id'] for j in service.jobs()], [job['id']], 'one series makes one job')

    def test_ct_report_after_images(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder)
        service.wait_job('waiting_prompt')
        service.send(ct.report, tool='storescu')
        self.finish(service, receiver, ct.headers, ct.labels)

    def test_what_is_found_is_what_is_there(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        job = self.finish(service, receiver, ct.headers, ct.labels)
        self.assert_found(ct, pydicom.dcmread(io.BytesIO(service.result(job))))

    def test_an_untrained_model_says_so(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], model_path=harness.untrained_model())
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        self.finish(service, receiver, ct.headers, ct.labels, untrained=True)
        self.assertRegex(service.get('/metrics').body.decode(), r'msad_model_info\{[^}]*untrained="true"')

    def test_ct_report_before_images(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.report, tool='storescu')
        service.send(ct.folder)
        self.finish(service, receiver, ct.headers, ct.labels)

    def test_ct_images_and_report_in_one_association(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        self.finish(service, receiver, ct.headers, ct.labels)

    def test_mr_boxes_over_rest_after_images(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        mr = self.mr_with_boxes()
        service.send(mr.folder)
        service.wait_job('waiting_prompt')
        service.annotate(mr.boxes_by_slice())
        self.finish(service, receiver, mr.headers, mr.labels)

    def test_mr_boxes_over_rest_before_images(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        mr = self.mr_with_boxes()
        service.annotate(mr.boxes_by_instance())
        service.send(mr.folder)
        self.finish(service, receiver, mr.headers, mr.labels)

    def test_late_image_makes_a_new_job_that_replaces(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        files = harness.dicom_files(ct.folder)
        late = next(f for f in files if ct.headers[-1].SOPInstanceUID == harness.read_uid(f))
        service.send(ct.report, *[f for f in files if f != late], tool='storescu')
        first = service.wait_job('succeeded')
        service.send(late)
        second = service.wait_job('succeeded', skip=[first['id']])
        self.assertEqual(second['supersedes'], first['id'])
        self.assertNotEqual(second['results'][0]['sop_instance_uid'], first['results'][0]['sop_instance_uid'])
        receiver.wait_files(4)

    def test_same_images_again_make_no_new_job(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        job = self.finish(service, receiver, ct.headers, ct.labels)
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_quiet()
        self.assertEqual([j['id'] for j in service.jobs()], [job['id']])
        self.assertEqual(receiver.stores(), len(job['results']))


if __name__ == '__main__':
    harness.main()
