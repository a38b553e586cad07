#!/usr/bin/python3
"""The same box by every carrier of prompts, orders of arrival, changed annotations, uploads, notes."""
import io
import os
import subprocess
import sys

import numpy as np
import pydicom

import annotations as annot
import harness

TRACKING = '2.25.987654321'


class Carriers(harness.Case):
    def setUp(self):
        super().setUp()
        self.phantom = self.ct_with_report()
        organ = self.phantom.boxes[0]
        self.label, self.slice = organ.label, organ.slice
        self.box = [round(v) for v in (organ.x0, organ.y0, organ.x1, organ.y1)]
        self.shapes = [(self.box, self.slice)]
        self.slab = [(self.box, k) for k in range(self.slice - 1, self.slice + 2)]
        self.files = harness.dicom_files(self.phantom.folder)
        self.copies = 0

    def series(self):
        """The phantom as another patient's study would have it; its headers along the normal."""
        self.copies += 1
        folder = annot.copy_series(self.files, self.path('copy-%d' % self.copies), self.copies)
        headers = harness.sorted_slices(harness.read_headers(folder))
        return folder, headers

    def stored(self, dataset):
        self.copies += 1
        return annot.save(dataset, self.path('annotation-%d.dcm' % self.copies))

    def finish(self, service, headers, skip=()):
        uid = str(headers[0].SeriesInstanceUID)
        job = service.wait_job('succeeded', series_uid=uid, skip=skip)
        return job, pydicom.dcmread(io.BytesIO(service.result(job)))

    def mask(self, seg, headers):
        self.assertEqual(len(seg.SegmentSequence), 1)
        return next(iter(self.volumes(seg, headers).values()))

    # ---- one box, one slab ----

    def by_every_carrier(self, service, shapes):
        """Carrier to (mask, SEG): each on a series of its own, all of the same pixels."""
        found, first, last = {}, shapes[0][1], shapes[-1][1]
        slices = {'slice': first} if first == last else {'slices': [first, last]}
        makers = {
            'SR SCOORD': lambda s: annot.report(s, shapes, self.label, TRACKING),
            'SR SCOORD3D': lambda s: annot.report(s, shapes, self.label, TRACKING, in_3d=True),
            'GSPS': lambda s: annot.presentation_state(s, shapes, self.label),
            'RTSTRUCT': lambda s: annot.structure_set(s, shapes, self.label),
            'SEG': lambda s: annot.segmentation(s, shapes, self.label, TRACKING),
        }
        bodies = {
            'REST px': lambda s: {'label': self.label, 'boxes': [
                {'sop_instance_uid': str(s[k].SOPInstanceUID), 'box': box} for box, k in shapes]},
            'REST slices': lambda s: {'label': self.label, 'series_instance_uid': str(s[0].SeriesInstanceUID),
                                      'boxes': [dict(slices, box=self.box)]},
            'REST mm': lambda s: {'label': self.label, 'series_instance_uid': str(s[0].SeriesInstanceUID),
                                  'boxes': [{'box_mm': annot.box_mm(s, self.box, first, last)}]},
            'REST mm, frame': lambda s: {'label': self.label, 'frame_of_reference_uid': str(s[0].FrameOfReferenceUID),
                                         'boxes': [{'box_mm': annot.box_mm(s, self.box, first, last)}]},
        }
        for name in [*bodies, *makers, 'SEG upload']:
            folder, headers = self.series()
            service.send(folder)
            if name in bodies:
                service.annotate(bodies[name](headers))
            elif name in makers:
                service.send(self.stored(makers[name](headers)), tool='storescu', options=['-R'])
            else:
                with open(self.stored(makers['SEG'](headers)), 'rb') as file:
                    reply = service.post('/v1/annotations', file.read(), content_type='application/dicom')
                self.assertEqual(reply.status, 201)
            _, seg = self.finish(service, headers)
            found[name] = (self.mask(seg, headers), seg)
        return found

    def compare(self, title, found):
        direct = found['REST px'][0]
        self.assertGreater(direct.sum(), 20)
        for name, (mask, _) in found.items():
            overlap = harness.dice(mask, direct)
            print('%-28s %-16s Dice %.4f  voxels %d' % (title, name, overlap, mask.sum()), file=sys.stderr)
            self.assertGreaterEqual(overlap, 0.99, name)

    def assert_named(self, found):
        """Label, codes and tracking come back from whoever carries them."""
        for name, (_, seg) in found.items():
            segment = seg.SegmentSequence[0]
            self.assertEqual(segment.SegmentLabel, annot.LIVER[2] if name.startswith('SR') else self.label, name)
            if name in ('SR SCOORD', 'SR SCOORD3D', 'SEG', 'SEG upload'):
                self.assertEqual(segment.TrackingUID, TRACKING, name)
                self.assertEqual(segment.SegmentedPropertyTypeCodeSequence[0].CodeValue, annot.LIVER[0], name)
                self.assertEqual(segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue, annot.ANATOMY[0], name)
                self.assertEqual(segment.AnatomicRegionSequence[0].CodeValue, annot.ABDOMEN[0], name)

    def test_one_box_by_every_carrier(self):
        service = self.msad()
        found = self.by_every_carrier(service, self.shapes)
        self.compare('a box on one slice', found)
        self.assert_named(found)

    def test_a_box_in_3d_by_every_carrier(self):
        service = self.msad()
        found = self.by_every_carrier(service, self.slab)
        self.compare('a box on three slices', found)
        for name, (mask, _) in found.items():
            self.assertEqual([k for k in range(len(mask)) if mask[k].any()], [k for _, k in self.slab], name)

    def test_points_in_pixels_and_millimetres(self):
        """A click on the organ and one beside it."""
        service, masks = self.msad(), []
        x, y = (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2
        points = [(x, y, True), (self.box[2] + 3, y, False)]
        for mm in (False, True):
            folder, headers = self.series()
            image, items = headers[self.slice], []
            for px, py, positive in points:
                place = {'point_mm': list(annot.in_space(image, px, py))} if mm else {
                    'point': [px, py], 'sop_instance_uid': str(image.SOPInstanceUID)}
                items.append(dict(place, positive=positive))
            service.send(folder)
            service.annotate({'label': self.label, 'series_instance_uid': str(image.SeriesInstanceUID), 'points': items})
            job, seg = self.finish(service, headers)
            self.assertEqual(job['prompts'], 2)
            masks.append(self.mask(seg, headers))
        self.assertGreater(masks[0].sum(), 0)
        self.assertGreaterEqual(harness.dice(*masks), 0.99)

    def test_encodings_of_others(self):
        """As viewers store them (the project's shared tools write these)."""
        tool = os.path.join(harness.SHARED, 'tools', 'make_annot.py')
        if not os.path.exists(tool):
            self.skipTest('no shared tools beside the checkout')
        service, found = self.msad(), {}
        folder, headers = self.series()
        service.send(folder)
        service.annotate({'label': 'x', 'boxes': [{'sop_instance_uid': str(headers[self.slice].SOPInstanceUID), 'box': self.box}]})
        found['REST px'] = (self.mask(self.finish(service, headers)[1], headers), None)
        for kind in ('sr-polyline', 'sr-rect4', 'sr-ohif', 'sr-scoord3d', 'gsps', 'gsps-display', 'rtstruct'):
            folder, headers = self.series()
            path = self.path(kind + '.dcm')
            subprocess.run(['/usr/bin/python3', tool, folder, path, '--kind', kind, '--box',
                            '%d,%d,%d,%d@%d' % (*self.box, self.slice)], check=True, stdout=subprocess.DEVNULL)
            service.send(folder)
            service.send(path, tool='storescu', options=['-R'])
            found[kind] = (self.mask(self.finish(service, headers)[1], headers), None)
        self.compare('as others store it', found)

    # ---- order ----

    def test_annotations_before_images(self):
        """From another sender, in another association; what they wait for is listed meanwhile."""
        service = self.msad()
        made = {}
        for name, maker in (('GSPS', annot.presentation_state), ('RTSTRUCT', annot.structure_set), ('SEG', annot.segmentation)):
            folder, headers = self.series()
            service.send(self.stored(maker(headers, self.shapes, self.label)), tool='storescu', options=['-R', '-aet', 'OTHER'])
            made[name] = (folder, headers)
        waiting = harness.until('three annotations to wait', lambda: (lambda a: a if len(a) == 3 else None)(
            service.json('/v1/annotations?state=waiting')['annotations']))
        wanted = {('image', str(made['GSPS'][1][self.slice].SOPInstanceUID)),
                  ('series', str(made['RTSTRUCT'][1][0].SeriesInstanceUID)), ('series', str(made['SEG'][1][0].SeriesInstanceUID))}
        self.assertEqual({(a['waits_for']['what'], a['waits_for']['uid']) for a in waiting}, wanted)
        self.assertTrue(all(a['waits_for']['since'] for a in waiting))
        masks = []
        for folder, headers in made.values():
            service.send(folder)
            masks.append(self.mask(self.finish(service, headers)[1], headers))
        self.assertEqual(service.json('/v1/annotations?state=waiting')['annotations'], [])
        for mask in masks[1:]:
            self.assertGreaterEqual(harness.dice(mask, masks[0]), 0.99)

    def test_a_frame_of_reference_of_two_series(self):
        """One structure set by frame of reference alone: each series of it gets a result."""
        service = self.msad()
        folder, headers = self.series()
        second = annot.copy_series(harness.dicom_files(folder), self.path('second'), 77, study=False)
        seconds = harness.sorted_slices(harness.read_headers(second))
        report = annot.report(headers, self.shapes, self.label, TRACKING, in_3d=True)
        del report.CurrentRequestedProcedureEvidenceSequence
        service.send(folder, second)
        service.send(self.stored(report), tool='storescu', options=['-R'])
        a, b = (self.mask(self.finish(service, h)[1], h) for h in (headers, seconds))
        self.assertTrue(np.array_equal(a, b))

    # ---- change ----

    def test_a_changed_annotation_replaces(self):
        service = self.msad(destinations=[self.receiver()])
        folder, headers = self.series()
        uid = str(headers[0].SeriesInstanceUID)
        moved = [([v + 3 for v in self.box], self.slice)]
        service.send(folder)
        service.send(self.stored(annot.report(headers, self.shapes, self.label, TRACKING)), tool='storescu', options=['-R'])
        first, _ = self.finish(service, headers)
        changed = annot.report(headers, moved, self.label, TRACKING, when='20240302080000')
        service.send(self.stored(changed), tool='storescu', options=['-R'])
        second, _ = self.finish(service, headers, [first['id']])
        self.assertEqual((second['supersedes'], second['prompts']), (first['id'], 1))
        listed = service.json('/v1/annotations?series=' + uid)['annotations']
        self.assertEqual([a['source_sop_instance_uid'] for a in listed], [str(changed.SOPInstanceUID)])
        old = annot.report(headers, self.shapes, self.label, TRACKING, when='20240229080000')
        service.send(self.stored(old), tool='storescu', options=['-R'])  # made before it, although it comes after it
        service.wait_quiet()
        self.assertEqual({j['id'] for j in service.jobs()}, {first['id'], second['id']})

    def test_there_and_back_again_is_a_new_object(self):
        service = self.msad()
        folder, headers = self.series()
        seen, jobs = [], []
        service.send(folder)
        for step in (0, 3, 0):
            service.annotate({'label': self.label, 'tracking_uid': TRACKING, 'boxes': [
                {'sop_instance_uid': str(headers[self.slice].SOPInstanceUID), 'box': [v + step for v in self.box]}]})
            job, seg = self.finish(service, headers, jobs)
            jobs.append(job['id'])
            seen.append((str(seg.SOPInstanceUID), self.mask(seg, headers)))
        self.assertEqual(len({uid for uid, _ in seen}), 3)
        self.assertTrue(np.array_equal(seen[0][1], seen[2][1]))

    def test_a_late_image_below_moves_no_slice(self):
        service = self.msad()
        folder, headers = self.series()
        files = harness.dicom_files(folder)
        lowest = next(f for f in files if harness.read_uid(f) == headers[0].SOPInstanceUID)
        service.send(*[f for f in files if f != lowest], tool='storescu', options=['-R'])
        service.annotate({'label': self.label, 'series_instance_uid': str(headers[0].SeriesInstanceUID),
                          'boxes': [{'slice': self.slice - 1, 'box': self.box}]})
        first, seg = self.finish(service, headers)
        before = self.mask(seg, headers)
        service.send(lowest)
        _, seg = self.finish(service, headers, [first['id']])
        after = self.mask(seg, headers)
        self.assertTrue(np.array_equal(before[self.slice], after[self.slice]))
        self.assertTrue(before[self.slice].any())

    # ---- what is more than a box ----

    def test_key_images_restrict_the_result(self):
        service = self.msad()
        folder, headers = self.series()
        keys = [self.slice, self.slice + 1]
        service.send(self.stored(annot.key_objects(headers, keys)), tool='storescu', options=['-R'])
        service.send(folder)
        service.wait_job('waiting_prompt')  # a key image alone asks for nothing
        service.annotate({'label': self.label, 'boxes': [{'sop_instance_uid': str(headers[self.slice].SOPInstanceUID), 'box': self.box}]})
        mask = self.mask(self.finish(service, headers)[1], headers)
        self.assertTrue(mask[self.slice].any())
        self.assertEqual([k for k in range(len(mask)) if mask[k].any() and k not in keys], [])
        free = self.mask(self.direct(service), headers)
        overlap = harness.dice(mask[keys], free[keys])
        print('%-28s %-16s Dice %.4f' % ('on the key images', 'KO + REST px', overlap), file=sys.stderr)
        self.assertGreaterEqual(overlap, 0.99)

    def test_key_images_restrict_what_is_found_by_itself(self):
        service = self.msad(rules='CT=auto:default-ct', automatic_points_per_side=8, automatic_iou_percent=0,
                            automatic_stability_percent=5, automatic_area_min_mm2=30, automatic_regions_max=5,
                            automatic_link_percent=30)
        folder, headers = self.series()
        keys = [4, 5]
        service.send(self.stored(annot.key_objects(headers, keys)), tool='storescu', options=['-R'])
        service.send(folder)
        _, seg = self.finish(service, headers)
        found = np.any(list(self.volumes(seg, headers).values()), axis=0)
        self.assertEqual([k for k in range(len(found)) if found[k].any()], keys)

    def direct(self, service):
        folder, headers = self.series()
        service.send(folder)
        service.annotate({'label': self.label, 'boxes': [{'sop_instance_uid': str(headers[self.slice].SOPInstanceUID), 'box': self.box}]})
        seg = self.finish(service, headers)[1]
        for frame in seg.PerFrameFunctionalGroupsSequence:  # as on the first copy
            item = frame.DerivationImageSequence[0].SourceImageSequence[0]
            item.ReferencedSOPInstanceUID = item.ReferencedSOPInstanceUID[:-1] + '1'
        return seg

    def test_a_mask_is_refined(self):
        """regions: mask. An area without its outermost pixels becomes the organ."""
        service = self.msad(config='rules: [{modality: CT, adapter: default-ct, regions: mask}]\n')
        folder, headers = self.series()
        truth = self.phantom.truth()[self.label][self.slice]
        inner = truth.copy()
        for _ in range(2):
            inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        service.send(folder)
        service.send(self.stored(annot.segmentation(headers, self.shapes, self.label, masks=[inner])), tool='storescu', options=['-R'])
        found = self.mask(self.finish(service, headers)[1], headers)[self.slice]
        before, after = (harness.dice(m, truth) for m in (inner, found))
        print('a mask is refined: Dice with the organ %.4f, as drawn %.4f' % (after, before), file=sys.stderr)
        self.assertGreater(after, before)

    def test_an_upload_says_where_to_look(self):
        service = self.msad()
        folder, headers = self.series()
        path = self.stored(annot.structure_set(headers, self.shapes, self.label))
        with open(path, 'rb') as file:
            data = file.read()
        reply = service.post('/v1/annotations', data, content_type='application/dicom')
        self.assertEqual(reply.status, 201, reply.body)
        href = reply.json()['href']
        record = harness.until('the upload to be read', lambda: (lambda r: r if r['state'] == 'indexed' else None)(service.json(href)))
        self.assertEqual((record['sop_instance_uid'], record['kind'], record['prompts'], record['note']),
                         (harness.read_uid(path), 'annotation', 1, None))
        self.assertEqual(service.post('/v1/annotations', data, content_type='application/dicom').status, 200)
        service.send(folder)
        self.finish(service, headers)
        with open(harness.dicom_files(folder)[0], 'rb') as file:
            image = file.read()
        for bad, words in ((b'this is no DICOM file', 'not a DICOM file'), (image, 'C-STORE')):
            reply = service.post('/v1/annotations', bad, content_type='application/dicom')
            self.assertEqual(reply.status, 201)
            href = reply.json()['href']
            record = harness.until('the upload to be refused', lambda: (lambda r: r if r['state'] == 'rejected' else None)(service.json(href)))
            self.assertIn(words, record['reason'])
        self.assertEqual(service.post('/v1/annotations', {'text': 'the liver'}).status, 422)

    def test_an_annotation_without_a_prompt_says_why(self):
        service = self.msad()
        _, headers = self.series()
        report = annot.report(headers, self.shapes, self.label, drawing=[10.0, 10.0, 30.0, 12.0])  # a single line
        service.send(self.stored(report), tool='storescu', options=['-R'])
        noted = harness.until('the report to be read', lambda: service.json('/v1/instances?state=noted')['instances'])
        self.assertEqual([i['sop_instance_uid'] for i in noted], [str(report.SOPInstanceUID)])
        self.assertEqual(noted[0]['prompts'], 0)
        self.assertGreater(len(noted[0]['note']), 10)
        self.assertEqual(service.json('/v1/instances/' + str(report.SOPInstanceUID)), noted[0])

    def test_on_the_command_line(self):
        """msa segment takes the same objects; those without an area and those with one."""
        folder, headers = self.series()
        masks = {}
        for name, dataset in (('GSPS', annot.presentation_state(headers, self.shapes, self.label)),
                              ('RTSTRUCT', annot.structure_set(headers, self.shapes, self.label)),
                              ('SEG', annot.segmentation(headers, self.shapes, self.label))):
            out = self.path(name)
            harness.run_tool([os.path.join(harness.BUILD, 'msa'), 'segment', folder, '--annot', self.stored(dataset), '--out', out])
            masks[name] = self.mask(pydicom.dcmread(os.path.join(out, 'seg.dcm')), headers)
        for mask in masks.values():
            self.assertGreaterEqual(harness.dice(mask, masks['GSPS']), 0.99)

    def test_our_own_result_prompts_nothing(self):
        service = self.msad()
        folder, headers = self.series()
        service.send(folder)
        service.send(self.stored(annot.report(headers, self.shapes, self.label, TRACKING)), tool='storescu', options=['-R'])
        job, seg = self.finish(service, headers)
        with open(self.path('own.dcm'), 'wb') as file:
            file.write(service.result(job))
        service.send(self.path('own.dcm'), tool='storescu', options=['-R'])
        service.wait_quiet()
        self.assertEqual([j['id'] for j in service.jobs()], [job['id']])
        record = service.json('/v1/instances/' + str(seg.SOPInstanceUID))
        self.assertEqual((record['state'], record['prompts']), ('indexed', 0))
        self.assertTrue(record['note'])


if __name__ == '__main__':
    harness.main()
