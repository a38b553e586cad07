#!/usr/bin/python3
"""Rules that a configuration file holds: what becomes of series by what they are, and what a person says of one."""
import os
import shutil
import subprocess
import time
import unittest

import pydicom

import harness

RULES = '''
rules:
  - name: scouts
    series: "*SCOUT*"
    adapter: ""
    prompts: skip
  - name: long
    slices_min: 13
    destinations: none
    settle_ms: 60000
    quiet_ms: 60000
  - name: middle
    modality: MR
    orientation: sagittal
    spacing_max_mm: 6
    sender: "TEST*"
    prompts: default-box
    box_percent: 40
    default_label: thing
    labels: "thing=99TEST:T1:Thing; other=SCT:10200004"
    destinations: second
  - name: lesions
    label: lesion
    labels: "Lesion=SCT:52988006:Lesion of the rule"
  - name: rest
    protocol: "P?"
    destinations: "demo"
'''


class Rules(harness.Case):
    def series(self, name, *options, **attributes):
        """A small series whose headers say more."""
        made = harness.Phantom(self.path(name), '--rows', '96', '--cols', '112', '--seed', str(1 + sum(map(ord, name))), *options,
                               report=self.path(name + '-report.dcm'))
        for path in harness.dicom_files(made.folder):
            header = pydicom.dcmread(path)
            for keyword, value in attributes.items():
                setattr(header, keyword, value)
            header.save_as(path)
        return made

    def ask_rule(self, service, body, media='application/json'):
        reply = service.post('/v1/rules/test', body, content_type=media)
        self.assertEqual(reply.status, 200, reply.body[:500])
        self.assertNotIn(harness.CANARY.encode(), reply.body)
        return reply.json()

    def test_what_becomes_of_series(self):
        first, second = self.receiver(), self.receiver('second', ae_title='SECOND')
        service = self.msad(destinations=[first, second], config=RULES)
        self.assertEqual([r['name'] for r in service.json('/v1/rules')['rules']], ['scouts', 'long', 'middle', 'lesions', 'rest', None])

        # skipped, unless somebody annotates it
        scout = self.series('scout', '--slices', '4', SeriesDescription='ap Scout view', StudyDescription=harness.CANARY)
        service.send(scout.folder)
        job = service.wait_job('cancelled', series_uid=scout.series_uid)
        self.assertEqual((job['rule'], job['reason']), ('scouts', 'rule scouts skips series that nobody annotated'))

        # a box of its own
        mr = self.series('mr', '--modality', 'MR', '--orientation', 'sagittal', '--slices', '9')
        service.send(mr.folder)
        job = service.wait_job(('succeeded', 'succeeded_empty'), series_uid=mr.series_uid)
        self.assertEqual((job['rule'], job['prompts']), ('middle', 0))
        self.assertIn('nobody annotated the series: a box in its middle was the prompt, as its rule says', job['warnings'])
        self.assertEqual([s['label'] for s in job['segments']], ['thing'])
        self.assertEqual([d['destination'] for d in job['deliveries']], ['second'] * len(job['results']))
        answer = self.ask_rule(service, {'job': job['id']})
        self.assertEqual((answer['verdict']['rule'], answer['prompts'], answer['destinations']), ('middle', 'default-box', ['second']))
        self.assertEqual({p['rule']: p['why'] for p in answer['verdict']['passed']},
                         {'scouts': 'it is for a Series Description like *SCOUT*, and that of the series is not',
                          'long': 'it is for series of at least 13 slices, and this one has 9'})
        self.assertEqual((answer['subject']['sender'], answer['subject']['orientation'], answer['subject']['slices']), ('TESTPACS', 'sagittal', 9))
        for result in job['results']:
            seg = self.assert_valid_seg(second.wait_files(1)[0])
            self.assertEqual(result['sop_instance_uid'], seg.SOPInstanceUID)
            self.assertEqual([(s.SegmentLabel, s.SegmentAlgorithmType) for s in seg.SegmentSequence], [('thing', 'AUTOMATIC')])

        # the same of a file that nobody has sent
        with open(harness.dicom_files(mr.folder)[0], 'rb') as file:
            image = file.read()
        answer = self.ask_rule(service, image, 'application/dicom')
        self.assertEqual((answer['subject']['modality'], answer['subject']['orientation'], answer['subject']['slices']), ('MR', 'sagittal', None))
        self.assertIn('how many this one has is not known', answer['verdict']['passed'][1]['why'])
        with open(harness.dicom_files(scout.folder)[0], 'rb') as file:
            self.assertEqual(self.ask_rule(service, file.read(), 'application/dicom')['verdict']['rule'], 'scouts')
        for body, status, part in ((b'', 400, 'the body is empty'), (b'not DICOM at all', 400, 'not'), (image[:2000], 400, '')):
            reply = service.post('/v1/rules/test', body, content_type='application/dicom')
            self.assertEqual(reply.status, status, reply.body)
            self.assertIn(part, reply.json()['detail'])
        self.assertEqual(os.listdir(os.path.join(service.storage, 'incoming')), [])

        # codes of labels, by the rule for the label; where it goes, by the rule for the series
        ct = self.series('ct', '--slices', '12', ProtocolName='P7')
        service.send(ct.folder, ct.report, tool='storescu')
        job = service.wait_job('succeeded', series_uid=ct.series_uid)
        self.assertEqual(job['rule'], 'rest')
        self.assertEqual({d['destination'] for d in job['deliveries']}, {'demo'})
        answer = self.ask_rule(service, {'job': job['id']})
        self.assertEqual({v['label']: v['verdict']['rule'] for v in answer['labels']}, {'Lesion': 'lesions', 'Spleen': 'rest'})

        # and where nobody has said so it waits, as ever
        other = self.series('other', '--slices', '12')
        service.send(other.folder)
        job = service.wait_job('waiting_prompt', series_uid=other.series_uid)
        self.assertEqual(job['rule'], '6')

        # what a person says: held, then complete, long before its rule's times
        late = self.series('late', '--slices', '14')
        files = harness.dicom_files(late.folder)
        service.send(*files[:2], tool='storescu')
        uri = '/v1/series/' + late.series_uid
        harness.until('the series', lambda: service.get(uri).status == 200)
        self.assertTrue(service.post(uri + '/hold', None).json()['held'])
        service.send(*files[2:], tool='storescu')
        harness.until('its images', lambda: service.json(uri)['instances'] == 14)
        service.annotate(late.boxes_by_slice())
        time.sleep(1)
        self.assertEqual((service.json(uri)['state'], service.wait_job('receiving', series_uid=late.series_uid)['rule']), ('open', None))
        self.assertFalse(service.post(uri + '/release', None).json()['held'])
        self.assertEqual(service.json(uri)['state'], 'open', 'its rule gives it a minute')
        service.post(uri + '/complete', None)
        job = service.wait_job('succeeded', series_uid=late.series_uid)
        self.assertEqual((job['rule'], job['deliveries']), ('long', []))
        self.assertEqual(service.json(uri)['closed_by'], 'forced')

    def test_how_many_there_are(self):
        service = self.msad(config='rules: [{quiet_ms: 60000, settle_ms: 60000}]\n')
        told = self.series('told', '--slices', '6')
        files = harness.dicom_files(told.folder)
        service.send(*files[:5], tool='storescu')
        uri = '/v1/series/' + told.series_uid
        harness.until('its images', lambda: service.get(uri).status == 200 and service.json(uri)['instances'] == 5)
        self.assertEqual(service.post(uri + '/expected', {'instances': 6}).json()['expected_instances'], 6)
        service.send(files[5], tool='storescu')
        harness.until('its end', lambda: service.json(uri)['closed_by'] == 'expected_count')
        for name, attributes, evidence in (('series', {'NumberOfSeriesRelatedInstances': 6}, 'expected_count'),
                                           ('study', {'NumberOfStudyRelatedInstances': 6}, 'study_count'),
                                           ('acquisition', {'ImagesInAcquisition': 6}, 'acquisition_count')):
            made = self.series(name, '--slices', '6', '--study-seed', str(sum(map(ord, name))), **attributes)
            service.send(made.folder)
            harness.until(evidence, lambda m=made, e=evidence: service.get('/v1/series/' + m.series_uid).status == 200 and
                          service.json('/v1/series/' + m.series_uid)['closed_by'] == e)

    def archive(self):
        """dcmqrscp as a source that can be asked; ended by tearDown like a receiver."""
        port, folder = harness.free_port(), self.path('archive')
        os.makedirs(os.path.join(folder, 'db'))
        with open(os.path.join(folder, 'cfg'), 'w', encoding='ascii') as file:
            file.write('NetworkTCPPort = %d\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nHostTable END\n'
                       'VendorTable BEGIN\nVendorTable END\nAETable BEGIN\nARCHIVE %s/db RW (100, 1024mb) ANY\nAETable END\n' % (port, folder))

        class Archive:
            process = None

            def start(self):
                with open(folder + '.log', 'ab') as log:
                    # pylint: disable=consider-using-with  # ended by stop()
                    self.process = subprocess.Popen(['dcmqrscp', '-v', '-c', os.path.join(folder, 'cfg')], stdin=subprocess.DEVNULL,
                                                    stdout=log, stderr=log)
                harness.until('dcmqrscp to listen', lambda: harness.listening(port) or self.process.poll() is not None)
                return self

            def stop(self):
                if self.process is not None:
                    self.process.kill()
                    self.process.wait()
        made = Archive()
        made.port = port
        self.receivers.append(made)
        return made.start()

    @unittest.skipIf(shutil.which('dcmqrscp') is None, 'dcmqrscp is not installed')
    def test_its_source_knows_how_many(self):
        archive = self.archive()
        service = self.msad(sources='ARCHIVE@127.0.0.1:%d' % archive.port, completeness_quiet_ms=60000)
        ct = self.series('ct', '--slices', '7')
        files = harness.dicom_files(ct.folder)
        harness.run_tool(['storescu', '-aec', 'ARCHIVE', '127.0.0.1', archive.port, *files])
        uri = '/v1/series/' + ct.series_uid

        def from_archive(*paths):
            harness.run_tool(['storescu', '-aet', 'ARCHIVE', '-aec', 'MSAD', '127.0.0.1', service.dicom_port, *paths])
        from_archive(*files[:4])
        harness.until('the answer', lambda: service.get(uri).status == 200 and service.json(uri)['source_instances'] == 7)
        time.sleep(1)  # thrice the settling time
        self.assertEqual((service.json(uri)['state'], service.json(uri)['sender']), ('open', 'ARCHIVE'))
        from_archive(*files[4:])
        harness.until('its end', lambda: service.json(uri)['closed_by'] == 'source_count')
        archive.stop()  # who cannot be asked holds nothing up
        other = self.series('other', '--slices', '4')
        from_archive(*harness.dicom_files(other.folder))
        harness.until('its end', lambda: service.get('/v1/series/' + other.series_uid).status == 200 and
                      service.json('/v1/series/' + other.series_uid)['closed_by'] == 'association_end')
        self.assertIn('inquiry source="ARCHIVE"', service.log())

    def test_other_rules_after_a_restart(self):
        """What waits is looked at again when rules have changed, and only then."""
        service = self.msad(config='rules: []\n')
        ct = self.series('ct', '--slices', '5')
        service.send(ct.folder)
        job = service.wait_job('waiting_prompt', series_uid=ct.series_uid)
        service.stop()
        service.start()
        self.assertEqual(service.log().count('rules_changed'), 1, 'the first start, and not this one')
        service.stop()
        service.configure('rules: [{prompts: default-box, default_label: middle}]\n')
        service.start()
        done = service.wait_job(('succeeded', 'succeeded_empty'), series_uid=ct.series_uid)
        self.assertEqual((done['id'], done['rule'], [s['label'] for s in done['segments']]), (job['id'], '1', ['middle']))


if __name__ == '__main__':
    harness.main()
