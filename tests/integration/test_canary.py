"""Goal S8, threat T18, invariant 8: a token of its own in every text of what is sent, looked for in everything that comes out.

Images and an annotation carry tokens in every text value representation: in standard and private elements, at the
top and in sequences. Nothing of them may be in a log (at debug), a metric, an answer of REST, a process title or
environment, a temporary file, or a file of the storage folder other than stored objects and results.
"""
import glob
import json
import os
import re
import shutil
import socket
import unittest

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import harness

# Elements that nothing of ours reads, some per value representation. Tokens are 8 characters, which every one of them takes.
TEXTS = {
    'AE': ['StationAETitle'], 'CS': ['PatientOrientation', 'BurnedInAnnotation'], 'LO': ['PatientID', 'InstitutionName', 'OtherPatientIDs',
    'InstitutionalDepartmentName', 'AdmissionID', 'IssuerOfPatientID', 'ManufacturerModelName', 'DeviceSerialNumber', 'RequestingService'],
    'LT': ['PatientComments', 'AdditionalPatientHistory', 'ImageComments'], 'PN': ['PatientName', 'ReferringPhysicianName',
    'OperatorsName', 'PerformingPhysicianName', 'OtherPatientNames', 'PatientMotherBirthName', 'ResponsiblePerson'],
    'SH': ['AccessionNumber', 'StudyID', 'StationName', 'PatientTelephoneNumbers', 'EthnicGroup'],
    'ST': ['InstitutionAddress', 'CommentsOnThePerformedProcedureStep', 'DerivationDescription'],
    'UC': ['StrainDescription'], 'UR': ['RetrieveURL'], 'UT': ['TextValue', 'PixelDataProviderURL'],
}
# The catalogue has these, because rules are compared with them; no answer and no log line tells them.
KEPT = ['StudyDescription', 'SeriesDescription', 'ProtocolName']
PRIVATE = ['LO', 'UT', 'PN', 'UN', 'LT', 'SH', 'ST']


class Tokens:
    """Hands out tokens and remembers where each one went."""

    def __init__(self):
        self.where = {}

    def new(self, where):
        token = 'QZ%04dXK' % len(self.where)
        self.where[token] = where
        return token

    def found_in(self, data):
        data = data if isinstance(data, bytes) else data.encode('utf-8', 'replace')
        return sorted({'%s (%s)' % (t, self.where.get(t, 'not ours')) for t in
                       (m.decode() for m in re.findall(rb'QZ\d{4}XK', data))})

    def put(self, dataset, name, keywords):
        for vr, elements in keywords.items():
            for keyword in elements:
                if pydicom.datadict.dictionary_VR(pydicom.datadict.tag_for_keyword(keyword)) == 'SQ':
                    continue
                setattr(dataset, keyword, self.new('%s: %s %s' % (name, vr, keyword)))

    def mark(self, dataset, name):
        self.put(dataset, name, TEXTS)
        for keyword in KEPT:
            setattr(dataset, keyword, self.new('%s: kept %s' % (name, keyword)))
        block = dataset.private_block(0x0099, self.new(name + ': private creator'), create=True)
        for i, vr in enumerate(PRIVATE):
            value = self.new('%s: private %s' % (name, vr))
            block.add_new(i, vr, value.encode() if vr == 'UN' else value)
        inner = Dataset()
        self.put(inner, name + ', in a sequence', TEXTS)
        dataset.ReferencedStudySequence = Sequence([inner])
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = (self.new(name + ': a code') for _ in range(3))
        dataset.ProcedureCodeSequence = Sequence([code])


class Canary(harness.Case):

    def setUp(self):
        super().setUp()
        self.tokens, self.sop_uid = Tokens(), None

    def marked(self, source, target, name):
        dataset = pydicom.dcmread(source)
        self.tokens.mark(dataset, name)
        dataset.save_as(target)
        return target

    def check(self, where, data):
        self.assertEqual(self.tokens.found_in(data), [], 'in ' + where)

    def check_rest(self, service, job):
        annotated = service.annotate({'series_instance_uid': job['series_instance_uid'],
                                      'boxes': [{'box': [5, 5, 20, 20], 'slice': 0, 'label': 'box'}]})
        ids = {'/v1/instances/{id}': self.sop_uid, '/v1/annotations/{id}': annotated['id'],
               '/v1/series/{uid}': job['series_instance_uid']}
        answered = []
        paths = json.loads(service.get('/openapi.json').body)['paths']
        for path, methods in paths.items():
            if 'get' not in methods or path.endswith('/result') or path == '/v1/events':
                continue
            reply = service.get(re.sub(r'\{\w+\}', lambda m: ids.get(path, job['id']), path))
            self.check('GET %s' % path, reply.body + str(reply.headers).encode())
            answered += [path] if reply.status == 200 else []
        for path in ('/v1/instances?state=rejected', '/v1/instances?state=noted', '/v1/annotations?state=waiting', '/metrics'):
            self.check('GET ' + path, service.get(path).body)
        for path in ids:
            self.assertIn(path, answered)
        self.assertGreater(len(answered), 10)
        self.check('the events', self.events(service))

    def events(self, service):
        """What the stream tells from its beginning; it does not end, so what is there within a second."""
        said = b''
        with socket.create_connection(('127.0.0.1', service.http_port), timeout=1) as stream:
            stream.sendall(b'GET /v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n')
            try:
                while b'succeeded' not in said:
                    more = stream.recv(65536)
                    if not more:
                        break
                    said += more
            except TimeoutError:
                pass
        self.assertIn(b'event: job', said)
        return said

    def check_processes(self, service):
        pids = [service.process.pid, *service.roles()]
        self.assertGreater(len(pids), 2)
        for pid in pids:
            for name in ('cmdline', 'comm', 'environ'):
                with open('/proc/%d/%s' % (pid, name), 'rb') as file:
                    self.check('%s of process %d' % (name, pid), file.read())
        for pid in pids[1:]:
            with open('/proc/%d/limits' % pid, encoding='ascii') as file:
                self.assertRegex(file.read(), r'Max core file size\s+0\s+0\s', 'a core dump would hold patients')

    def check_files(self, service, temporary):
        self.assertEqual(os.listdir(temporary), [], 'temporary files were left')
        data = service.storage
        kept = 0
        for path in glob.glob(os.path.join(data, '**'), recursive=True):
            if not os.path.isfile(path) or os.path.relpath(path, data).split(os.sep)[0] == 'blobs':
                continue
            with open(path, 'rb') as file:
                found = self.tokens.found_in(file.read())
            kept += len(found)
            self.assertEqual([f for f in found if ': kept ' not in f], [], 'in ' + os.path.relpath(path, data))
        self.assertGreater(kept, 0)  # the search finds what is there

    def test_nothing_of_a_patient_comes_out(self):
        ct = self.ct_with_report()
        sent = self.path('sent')
        os.mkdir(sent)
        for i, path in enumerate(harness.dicom_files(ct.folder)):
            self.marked(path, os.path.join(sent, '%d.dcm' % i), 'image %d' % i)
        report = self.marked(ct.report, self.path('sr.dcm'), 'annotation')
        # What cannot be used is told of most: an image without rows, and below a file that is cut off.
        cut = self.path('cut.dcm')
        self.sop_uid = harness.read_uid(os.path.join(sent, '0.dcm'))
        lost = pydicom.dcmread(os.path.join(sent, '0.dcm'))
        lost.SOPInstanceUID = lost.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        lost.SeriesInstanceUID = pydicom.uid.generate_uid()
        lost.Rows = 0
        lost.save_as(cut)

        temporary = self.path('tmp')
        os.mkdir(temporary)
        receiver = self.receiver()
        service = harness.Msad(self.path('msad'), [receiver], log_level='debug', result_report=True)
        service.environment['TMPDIR'] = temporary
        self.services.append(service)
        service.start()
        service.send(sent, report, cut)
        uploaded = service.post('/v1/instances', open(report, 'rb').read(), content_type='application/dicom')
        self.check('POST /v1/instances', uploaded.body)
        damaged = service.post('/v1/instances', open(report, 'rb').read()[:-40], content_type='application/dicom')
        self.check('POST /v1/instances of a damaged file', damaged.body)
        tried = service.post('/v1/rules/test', open(os.path.join(sent, '1.dcm'), 'rb').read(), content_type='application/dicom')
        self.check('POST /v1/rules/test', tried.body)
        job = service.wait_job(series_uid=ct.series_uid)
        self.assertEqual(job['state'], 'succeeded', job)
        self.check('the job', json.dumps(job))
        self.check_processes(service)
        self.check_rest(service, job)
        self.check_files(service, temporary)

        # Where tokens are to be: in the results for the patient's own PACS, as far as the standard copies them.
        seg = harness.dicom_files(receiver.folder)
        with open(seg[0], 'rb') as file:
            found = ' '.join(self.tokens.found_in(file.read()))
        self.assertIn('PatientName', found)
        self.assertNotIn('private', found, 'private elements of the images are in the result (T15)')

        self.assertEqual(service.stop(), 0)
        self.check('the log', service.log())
        self.check_files(service, temporary)
        shutil.rmtree(temporary)


if __name__ == '__main__':
    harness.main()
