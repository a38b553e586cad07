#!/usr/bin/python3
"""Destinations that want a result in another form: each gets its own, and plain bytes where it takes no others."""
import collections

import numpy
import pydicom

import harness

SEG, LABEL_MAP = '1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7'
STRUCTURE_SET, CAPTURE = '1.2.840.10008.5.1.4.1.1.481.3', '1.2.840.10008.5.1.4.1.1.7'
EXPLICIT, DEFLATED, RLE = '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.1.99', '1.2.840.10008.1.2.5'


def voxels(path):
    """Set voxels by label and source image, whatever the form."""
    d = pydicom.dcmread(path)
    names = {s.SegmentNumber: s.SegmentLabel for s in d.SegmentSequence}
    out = collections.Counter()
    for frame, groups in zip(d.pixel_array.reshape(-1, d.Rows, d.Columns), d.PerFrameFunctionalGroupsSequence):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        if d.SegmentationType == 'LABELMAP':
            for number, name in names.items():
                out[name, image] += int((frame == number).sum())
        else:
            name = names[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
            out[name, image] += int((frame > (127 if d.SegmentationType == 'FRACTIONAL' else 0)).sum())
    return +out  # without zeros


class Forms(harness.Case):
    def start(self, wanted):
        """A service with these destinations: name, lines of their form, storescp's options."""
        receivers, config = {}, 'destinations:\n'
        for name, lines, options in wanted:
            receivers[name] = self.receiver(name, *options, ae_title=name.upper())
            config += '  - name: "%s"\n    ae_title: "%s"\n    host: "127.0.0.1"\n    port: %d\n' % (
                name, name.upper(), receivers[name].port)
            config += ''.join('    %s\n' % line for line in lines)
        service = harness.Msad(self.path('msad'), (), config)
        del service.environment['MSAD_DESTINATIONS']
        self.services.append(service)
        return service.start(), receivers

    def test_contours_where_a_rule_says_so(self):
        """An RT Structure Set beside the SEG, whose contours are closed and lie on its images; sent back, it prompts nothing."""
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], config='rules:\n  - contours: rtstruct\n    adapter: ""\n')
        ct = self.ct_with_report()
        service.send(ct.folder)
        service.send(ct.report, tool='storescu')
        job = service.wait_job('succeeded')
        self.assertEqual([(r['sop_class_uid'], r['form']) for r in job['results']], [(SEG, 'binary'), (STRUCTURE_SET, None)])
        paths = receiver.wait_files(2)
        path = next(p for p in paths if job['results'][1]['sop_instance_uid'] in p)
        said = harness.run_tool(['dciodvfy', path], None).stdout
        self.assertEqual([line for line in said.split('\n') if line.startswith('Error')], [], said)
        d = pydicom.dcmread(path)
        self.assertEqual([r.ROIName for r in d.StructureSetROISequence], ct.labels)
        images = {str(h.SOPInstanceUID): float(h.ImagePositionPatient[2]) for h in ct.headers}
        for roi, segment in zip(d.ROIContourSequence, job['segments']):
            slices = collections.Counter()
            for contour in roi.ContourSequence:
                self.assertEqual((contour.ContourGeometricType, len(contour.ContourData)),
                                 ('CLOSED_PLANAR', 3 * contour.NumberOfContourPoints))
                image = str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
                self.assertTrue(all(abs(float(z) - images[image]) < 0.006 for z in contour.ContourData[2::3]))
                slices[image] += 1
            self.assertEqual(len(slices), segment['last_slice'] - segment['first_slice'] + 1)
        service.send(path, tool='storescu')
        service.wait_quiet()
        self.assertEqual([j['id'] for j in service.jobs()], [job['id']])

    def test_pictures_where_a_rule_says_so(self):
        """Key slices as Secondary Captures: valid, of the study, each naming its image, with colour where grey was."""
        receiver = self.receiver()
        service = self.msad(destinations=[receiver], config='rules:\n  - pictures: capture\n    adapter: ""\n')
        ct = self.ct_with_report()
        service.send(ct.folder)
        service.send(ct.report, tool='storescu')
        job = service.wait_job('succeeded')
        captures = [r for r in job['results'] if r['sop_class_uid'] == CAPTURE]
        self.assertIn(len(captures), range(1, 13))
        self.assertEqual({r['sop_class_uid'] for r in job['results']}, {SEG, CAPTURE})
        images = {str(h.SOPInstanceUID): h for h in ct.headers}
        found, numbers, series = set(), [], set()
        for path in receiver.wait_files(len(job['results'])):
            d = pydicom.dcmread(path)
            if d.SOPClassUID != CAPTURE:
                continue
            said = harness.run_tool(['dciodvfy', '-new', path], None).stdout
            self.assertEqual([line for line in said.split('\n') if line.startswith('Error')], [], said)
            found.add(d.SOPInstanceUID)
            numbers.append(int(d.InstanceNumber))
            series.add(str(d.SeriesInstanceUID))
            source = images[str(d.SourceImageSequence[0].ReferencedSOPInstanceUID)]
            self.assertEqual((d.StudyInstanceUID, d.PatientID), (source.StudyInstanceUID, source.PatientID))
            self.assertNotIn('FrameOfReferenceUID', d)
            pixels = d.pixel_array.astype(int)
            self.assertGreater(int((pixels.max(axis=2) - pixels.min(axis=2) > 60).sum()), 50, 'colour')
        self.assertEqual(found, {r['sop_instance_uid'] for r in captures})
        self.assertEqual(sorted(numbers), list(range(1, len(captures) + 1)))
        self.assertEqual(len(series), 1)

    def test_each_gets_its_own(self):
        service, receivers = self.start([
            ('usual', [], []),
            ('small', ['format: "labelmap"', 'compression: "deflate"'], ['-pm', '+xd']),
            ('old', ['format: "labelmap"', 'compression: "deflate"'], ['-pm']),
            ('ohif', ['format: "fractional"', 'profile: "ohif"', 'compression: "rle"', 'empty_frames: true'], ['+xr']),
            ('plain', ['format: "fractional"', 'profile: "ohif"', 'compression: "rle"', 'empty_frames: true'], [])])
        ct = self.ct_with_report()
        service.send(ct.folder)
        service.send(ct.report, tool='storescu')
        job = service.wait_job('succeeded', series_uid=ct.series_uid)
        self.assertEqual({d['state'] for d in job['deliveries']}, {'delivered'})
        by_uid = {r['sop_instance_uid']: r for r in job['results']}
        got = {name: r.files() for name, r in receivers.items()}
        self.assertEqual(sum(len(files) for files in got.values()), len(job['deliveries']))
        counts = {}
        for name, sop_class, syntax, form in (
                ('usual', SEG, EXPLICIT, 'binary'), ('small', LABEL_MAP, DEFLATED, 'labelmap-deflate'),
                ('old', LABEL_MAP, EXPLICIT, 'labelmap-deflate'), ('ohif', SEG, RLE, 'fractional-ohif-rle-empty'),
                ('plain', SEG, EXPLICIT, 'fractional-ohif-rle-empty')):
            self.assertGreater(len(got[name]), 0)
            counts[name] = collections.Counter()
            for path in got[name]:
                d = pydicom.dcmread(path)
                self.assertEqual((d.SOPClassUID, d.file_meta.TransferSyntaxUID), (sop_class, syntax), name)
                self.assertEqual(by_uid[d.SOPInstanceUID]['sop_class_uid'], sop_class)
                self.assertEqual(by_uid[d.SOPInstanceUID]['form'], form)
                counts[name] += voxels(path)
        self.assertEqual({label for label, _ in counts['usual']}, set(ct.labels))
        for name in counts:
            self.assertEqual(counts[name], counts['usual'], name)
        # one object, in two transfer syntaxes
        for a, b in (('small', 'old'), ('ohif', 'plain')):
            pixels = [{pydicom.dcmread(p).SOPInstanceUID: pydicom.dcmread(p).pixel_array for p in got[x]} for x in (a, b)]
            self.assertEqual(set(pixels[0]), set(pixels[1]))
            for uid, array in pixels[0].items():
                self.assertTrue(numpy.array_equal(array, pixels[1][uid]))
        series = {pydicom.dcmread(p).SeriesInstanceUID for p in got['ohif']}
        self.assertEqual(len(series), len(got['ohif']), 'a series for each')

    def msa(self, *arguments, wanted=0):
        return harness.run_tool([harness.os.path.join(harness.BUILD, 'msa'), *arguments], wanted, cwd=self.folder)

    def test_from_the_command_line(self):
        """Every format holds the same voxels; a fraction is the model's probability, and half of it the mask."""
        ct = self.ct_with_report()
        found = {}
        for name, options in (('usual', []), ('labels', ['--format', 'labelmap', '--compression', 'deflate', '--no-report']),
                              ('fractions', ['--format', 'fractional', '--compression', 'rle', '--contours', '--captures'])):
            said = self.msa('segment', ct.folder, '--annot', ct.report, *options, '--out', self.path(name)).stdout
            path = self.path(name, 'seg.dcm')
            found[name] = voxels(path)
            self.assertEqual(harness.os.path.exists(self.path(name, 'report.dcm')), name != 'labels')
            self.assertEqual('CONTOURS' in said, name == 'fractions')
            if name != 'labels':  # which dciodvfy does not know yet
                said = harness.run_tool(['dciodvfy', path], None).stdout
                self.assertEqual([line for line in said.split('\n') if line.startswith('Error')], [], said)
        self.assertEqual(found['labels'], found['usual'])
        self.assertEqual(found['fractions'], found['usual'])
        d = pydicom.dcmread(self.path('fractions', 'seg.dcm'))
        self.assertEqual((d.SegmentationFractionalType, d.MaximumFractionalValue), ('PROBABILITY', 255))
        between = numpy.logical_and(d.pixel_array > 0, d.pixel_array < 255)
        self.assertGreater(int(between.sum()), 100)
        self.assertGreater(len(numpy.unique(d.pixel_array)), 20)
        self.assertTrue(harness.os.path.exists(self.path('fractions', 'structure-set.dcm')))
        self.assertTrue(harness.os.path.exists(self.path('fractions', 'capture-1.dcm')))
        for options, words in ((['--format', 'nrrd'], '--format nrrd is none'),
                               (['--profile', 'mine'], '--profile mine is none'),
                               (['--compression', 'zip'], '--compression zip is none'),
                               (['--compression', 'rle'], 'rle does not go with')):
            said = self.msa('segment', ct.folder, '--annot', ct.report, *options, '--out', self.path('no'), wanted=64)
            self.assertIn(words, said.stdout)

    def test_a_form_that_is_none(self):
        for lines, words in ((['format: "nrrd"'], 'is not a format: binary, fractional or labelmap'),
                             (['profile: "mine"'], 'is not a profile: strict, ohif, slicer or weasis'),
                             (['compression: "zip"'], 'is not a compression: none, rle or deflate'),
                             (['compression: "rle"'], 'rle does not go with the format binary')):
            path = self.path('msad.yaml')
            with open(path, 'w', encoding='utf-8') as file:
                file.write('destinations:\n  - name: "a"\n    ae_title: "A"\n    host: "a"\n    port: 104\n' +
                           ''.join('    %s\n' % line for line in lines))
            said = harness.run_tool([harness.os.path.join(harness.BUILD, 'msad'), '--check-config', '--config', path], wanted=78)
            self.assertIn(words, said.stdout + (said.stderr or ''))


if __name__ == '__main__':
    harness.main()
