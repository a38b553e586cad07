"""What every integration test needs: the real msad on free ports in a folder of its own, real DICOM tools, REST.

A test file defines subclasses of Case and ends with harness.main(). Exit status: 0, 1, or 77 when all was skipped.
The build folder comes from MSAD_BUILD. Whatever a case does, at its end no log, REST answer or metric may hold the
canary that the made-up patients carry (invariant 8), and no process is left.
"""
import glob
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import numpy as np
import pydicom

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('MSAD_BUILD', os.path.join(ROOT, 'build'))
SHARED = os.path.join(os.path.dirname(ROOT), 'shared')  # real data, where a checkout has it beside itself
CANARY = 'MSADCANARY'  # in every patient attribute that make_series writes; test_canary.py has one for every text
DEADLINE_S = float(os.environ.get('MSAD_TEST_DEADLINE_S', '120'))  # for one awaited event; generous: CI machines are slow
FINAL = ('succeeded', 'succeeded_empty', 'failed', 'cancelled')


def free_port():
    """A port that was free a moment ago, drawn at random so that parallel tests rarely meet."""
    while True:
        port = random.randint(20000, 32000)  # below the kernel's range for outgoing connections
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue


def until(what, probe, deadline_s=None, pause_s=0.05):
    """Repeats probe() until it returns something true, and returns that."""
    end = time.monotonic() + (deadline_s or DEADLINE_S)
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError('waited too long for %s' % what)
        time.sleep(pause_s)


def run_tool(arguments, wanted=0, **options):
    """A tool to its end; wanted None: any exit status."""
    done = subprocess.run([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', check=False,
                          timeout=DEADLINE_S * 2, **options)
    if wanted is not None and done.returncode != wanted:
        raise AssertionError('%s ended with %d, not %d:\n%s' %
                             (' '.join(map(str, arguments)), done.returncode, wanted, done.stdout[-4000:]))
    return done


class Box:
    """A box on one slice, as make_series prints it and `msa segment --box` takes it."""

    def __init__(self, x0, y0, x1, y1, number, label):
        self.x0, self.y0, self.x1, self.y1, self.slice, self.label = x0, y0, x1, y1, number, label

    @staticmethod
    def read(text):
        place, label = text.split('=')
        corners, number = place.split('@')
        return Box(*map(float, corners.split(',')), int(number), label)

    def option(self):
        return '%g,%g,%g,%g@%d=%s' % (self.x0, self.y0, self.x1, self.y1, self.slice, self.label)


def boxes_by_slice(series_uid, boxes):
    """The body of POST /v1/annotations that names the series and counts slices."""
    return {'series_instance_uid': series_uid,
            'boxes': [{'box': [b.x0, b.y0, b.x1, b.y1], 'slice': b.slice, 'label': b.label} for b in boxes]}


class Phantom:
    """A synthetic series (tests/tools/make_series.cc): its files, headers along the normal, boxes and report."""

    def __init__(self, folder, *options, report=None):
        self.folder, self.report, self.options = folder, report, options
        said = self.make(folder, *(['--sr', report] if report else []))
        self.organs = [Box.read(line) for line in said.split('\n') if '=' in line]
        self.boxes = self.organs[:2]  # those that the report holds
        self.labels = [b.label for b in self.boxes]
        self.headers = sorted_slices(read_headers(folder))
        self.series_uid = str(self.headers[0].SeriesInstanceUID)

    def make(self, folder, *more):
        return run_tool([os.path.join(BUILD, 'tests/tools/make_series'), *self.options, '--out', folder, *more]).stdout

    def truth(self):
        """Label to the organ's mask (slices, rows, columns)."""
        path = self.folder + '.truth'
        self.make(self.folder + '.again', '--truth', path)
        masks = np.fromfile(path, np.uint8).reshape(-1, len(self.headers), self.headers[0].Rows, self.headers[0].Columns)
        return {organ.label: mask.astype(bool) for organ, mask in zip(self.organs, masks, strict=True)}

    def boxes_by_slice(self):
        return boxes_by_slice(self.series_uid, self.boxes)

    def boxes_by_instance(self):
        return {'boxes': [{'box': [b.x0, b.y0, b.x1, b.y1], 'label': b.label,
                           'sop_instance_uid': str(self.headers[b.slice].SOPInstanceUID)} for b in self.boxes]}


def dataset_bytes(path_or_bytes):
    """What follows the file meta information: the part that a receiver must not change."""
    data = path_or_bytes
    if not isinstance(data, bytes):
        with open(path_or_bytes, 'rb') as file:
            data = file.read()
    assert data[128:132] == b'DICM' and data[132:136] == b'\x02\x00\x00\x00', 'not a Part 10 file'
    return data[144 + struct.unpack('<I', data[140:144])[0]:]


def dicom_files(folder):
    found = sorted(p for p in glob.glob(os.path.join(str(folder), '**', '*'), recursive=True) if os.path.isfile(p))
    return [p for p in found if not p.endswith(('.txt', '.json'))]


def read_uid(path):
    return str(pydicom.dcmread(path, stop_before_pixels=True, force=True).SOPInstanceUID)


def bundled_model():
    return os.path.join(BUILD, 'config', 'models', 'default.safetensors')


def untrained_model():
    """Random weights that say so."""
    return os.path.join(BUILD, 'tests', 'tools', 'untrained.safetensors')


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def filled(mask):
    """(slices, rows, columns): one tight box over everything on each slice."""
    out = np.zeros_like(mask)
    for k in range(mask.shape[0]):
        rows, cols = np.nonzero(mask[k])
        if rows.size:
            out[k, rows.min():rows.max() + 1, cols.min():cols.max() + 1] = True
    return out


def read_headers(folder):
    """SOP Instance UID to dataset, without pixels."""
    headers = (pydicom.dcmread(p, stop_before_pixels=True, force=True) for p in dicom_files(folder))
    return {h.SOPInstanceUID: h for h in headers if 'ImagePositionPatient' in h}


def sorted_slices(headers):
    """The images of one series along the slice normal, as slice numbers count."""
    def position(header):
        o = [float(v) for v in header.ImageOrientationPatient]
        normal = (o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3])
        return sum(n * float(p) for n, p in zip(normal, header.ImagePositionPatient))
    return sorted(headers.values(), key=position)


class Receiver:
    """storescp as the foreign destination. Can be stopped and started again on its port."""

    def __init__(self, folder, ae_title='DEMO', port=None, *options):
        self.folder, self.ae_title, self.port, self.options = folder, ae_title, port or free_port(), options
        self.log_path = folder + '.log'
        self.process = None
        os.makedirs(folder, exist_ok=True)

    def start(self):
        with open(self.log_path, 'ab') as log:
            # pylint: disable=consider-using-with  # ended by stop()
            self.process = subprocess.Popen(['storescp', '-v', '+B', '-aet', self.ae_title, '-od', self.folder,
                                             *self.options, str(self.port)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until('storescp to listen', lambda: listening(self.port) or self.process.poll() is not None)
        assert self.process.poll() is None, 'storescp did not start: see %s' % self.log_path
        return self

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def files(self):
        return [p for p in dicom_files(self.folder) if not p.endswith('.log')]

    def wait_files(self, count):
        until('%d objects at the receiver' % count, lambda: len(self.files()) >= count)
        return self.files()

    def stores(self):
        """How many C-STORE requests it has answered since it was made."""
        with open(self.log_path, encoding='utf-8', errors='replace') as log:
            return log.read().count('Received Store Request')


def listening(port):
    """Whether anybody listens there, without connecting (a connection would be an association to the peer)."""
    wanted = ':%04X' % port
    for table in ('/proc/net/tcp', '/proc/net/tcp6'):
        if os.path.exists(table):
            with open(table, encoding='ascii') as rows:
                if any(r.split()[3] == '0A' and r.split()[1].endswith(wanted) for r in list(rows)[1:]):
                    return True
    return False


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Msad:
    """One msad. Its storage folder outlives it, so a second start() is a restart."""

    def __init__(self, folder, destinations=(), config=None, **settings):
        """Without a report unless asked for: most tests count the segmentations that arrive."""
        settings.setdefault('result_report', False)
        self.folder, self.arguments = folder, []
        self.storage = os.path.join(folder, 'data')
        self.log_path = os.path.join(folder, 'msad.log')
        self.dicom_port = self.http_port = None
        self.process = None
        self.token = None  # shown by every request, once a case has made one
        os.makedirs(folder, exist_ok=True)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith('MSAD_')}
        self.environment.update({
            'MSAD_STORAGE_PATH': self.storage, 'MSAD_WORK_WORKERS': '1', 'MSAD_WORK_THREADS': '1',
            'MSAD_COMPLETENESS_SETTLE_MS': '300', 'MSAD_COMPLETENESS_PROMPT_SETTLE_MS': '300',
            'MSAD_DELIVERY_RETRY_MIN_S': '1', 'MSAD_DELIVERY_RETRY_MAX_S': '1',
            'MSAD_DESTINATIONS': ','.join('%s=%s@127.0.0.1:%d' % (d.ae_title.lower(), d.ae_title, d.port)
                                          for d in destinations)})
        self.environment.update({'MSAD_' + k.upper(): str(v).lower() if isinstance(v, bool) else str(v) for k, v in settings.items()})
        if config is not None:
            self.configure(config)

    def configure(self, text):
        """A configuration file, in force from the next start on; the environment goes before it."""
        path = os.path.join(self.folder, 'msad.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        self.arguments = ['--config', path]

    def start(self):
        for _ in range(5):  # another test may take the port between our look and the bind
            self.dicom_port, self.http_port = free_port(), free_port()
            self.environment.update(MSAD_DICOM_PORT=str(self.dicom_port), MSAD_HTTP_PORT=str(self.http_port))
            with open(self.log_path, 'ab') as log:
                # pylint: disable=consider-using-with  # ended by stop() or kill()
                self.process = subprocess.Popen([os.path.join(BUILD, 'msad'), *self.arguments], env=self.environment, cwd=self.folder,
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            until('msad to be ready', lambda: self.process.poll() is not None or self.is_ready())
            if self.process.poll() is None:
                return self
        raise AssertionError('msad did not start')

    def is_ready(self):
        try:
            return self.get('/readyz').status == 200
        except OSError:
            return False

    def model_workers(self):
        """Work roles that have loaded the model; the one that only reads headers has none."""
        found = []
        for pid in self.roles('work'):
            try:
                with open('/proc/%d/maps' % pid, encoding='utf-8') as maps:
                    if '.safetensors' in maps.read():
                        found.append(pid)
            except OSError:
                continue
        return found

    def roles(self, name=None):
        """Process ids of the roles that live, of one kind or all."""
        found = []
        for path in glob.glob('/proc/[0-9]*/stat'):
            try:
                with open(path, encoding='ascii', errors='replace') as stat:
                    fields = stat.read().rsplit(')', 1)[1].split()
                pid = int(path.split('/')[2])
                with open('/proc/%d/cmdline' % pid, encoding='utf-8', errors='replace') as line:
                    arguments = line.read().split('\0')
            except OSError:
                continue  # it ended meanwhile
            if self.process and int(fields[1]) == self.process.pid and fields[0] != 'Z' and '--role' in arguments:
                if name is None or arguments[arguments.index('--role') + 1] == name:
                    found.append(pid)
        return found

    def kill(self):
        """kill -9 of core. Its roles notice that it is gone and end too."""
        roles = self.roles()
        self.process.kill()
        self.process.wait()
        self.process = None
        until('the roles to end after core was killed', lambda: not any(map(alive, roles)), 30)

    def stop(self, deadline_s=60):
        """SIGTERM; returns the exit status."""
        if self.process is None:
            return None
        roles = self.roles()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError('msad did not end within %d s of SIGTERM' % deadline_s) from None
        finally:
            self.process = None
        until('the roles to end with core', lambda: not any(map(alive, roles)), 10)
        return status

    def log(self):
        if not os.path.exists(self.log_path):
            return ''
        with open(self.log_path, encoding='utf-8', errors='replace') as log:
            return log.read()

    # REST

    def request(self, method, path, body=None, content_type='application/json', timeout=60, headers=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request('http://127.0.0.1:%d%s' % (self.http_port, path), data=body, method=method,
                                         headers=dict({'Content-Type': content_type} if body is not None else {},
                                                      **({'Authorization': 'Bearer ' + self.token} if self.token else {}),
                                                      **(headers or {})))
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as answer:
            return Reply(answer.code, answer.headers, answer.read())

    def get(self, path, **options):
        return self.request('GET', path, **options)

    def json(self, path):
        reply = self.get(path)
        assert reply.status == 200, 'GET %s: %d %s' % (path, reply.status, reply.body[:500])
        return reply.json()

    def post(self, path, body, **options):
        return self.request('POST', path, body, **options)

    def metric(self, name):
        """The value of one sample at /metrics."""
        for line in self.get('/metrics').body.decode().split('\n'):
            if line.startswith('msad_%s ' % name):
                return float(line.split()[1])
        raise AssertionError('no metric msad_' + name)

    def rejected(self):
        return self.json('/v1/instances?state=rejected&limit=1000')['instances']

    def wait_quiet(self, quiet_s=2.5):
        """Until nothing has changed in the catalogue for longer than every settling time that the tests set."""
        last, since = None, time.monotonic()
        end = since + DEADLINE_S
        while time.monotonic() - since < quiet_s:
            now = [self.metric(n) for n in ('catalogue_instances', 'catalogue_instances_rejected', 'catalogue_prompts')]
            now += [(j['id'], j['state']) for j in self.jobs()]
            if now != last:
                last, since = now, time.monotonic()
            assert time.monotonic() < end, 'the catalogue does not come to rest'
            time.sleep(0.1)

    def jobs(self):
        return self.json('/v1/jobs')['jobs']

    def job(self, public_id):
        return self.json('/v1/jobs/' + public_id)

    def wait_job(self, states=FINAL, series_uid=None, skip=(), deadline_s=None):
        """The newest job (of a series; not one of `skip`) once it is in one of the states."""
        states = (states,) if isinstance(states, str) else states

        def probe():
            for job in self.jobs():
                if (series_uid is None or job['series_instance_uid'] == series_uid) and job['id'] not in skip:
                    if job['state'] in states:
                        return self.job(job['id'])
                    if job['state'] in FINAL:
                        raise AssertionError('the job ended as %s: %s' % (job['state'], self.job(job['id'])))
            return None
        return until('a job in state %s' % '/'.join(states), probe, deadline_s)

    def result(self, job):
        reply = self.get('/v1/jobs/%s/result' % job['id'])
        assert reply.status == 200, 'result: %d %s' % (reply.status, reply.body[:500])
        return reply.body

    # DICOM

    def send(self, *paths, tool='dcmsend', aec='MSAD', options=(), wanted=0):
        command = [tool, '-aet', 'TESTPACS', '-aec', aec, '+sd', '+r', *options, '127.0.0.1', self.dicom_port, *paths]
        if all(os.path.isfile(p) for p in paths):
            command = [c for c in command if c not in ('+sd', '+r')]
        return run_tool(command, wanted)

    def echo(self, aec='MSAD', wanted=0, timeout_s=10):
        return run_tool(['echoscu', '-v', '-to', timeout_s, '-ta', timeout_s, '-td', timeout_s, '-aet', 'TESTPACS',
                         '-aec', aec, '127.0.0.1', self.dicom_port], wanted)

    def annotate(self, body):
        """POST /v1/annotations; returns the reply's JSON."""
        reply = self.post('/v1/annotations', body)
        assert reply.status in (200, 201), 'annotations: %d %s' % (reply.status, reply.body[:800])
        return reply.json()


def alive(pid):
    try:
        with open('/proc/%d/stat' % pid, encoding='ascii', errors='replace') as stat:
            return stat.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


class Case(unittest.TestCase):
    """A temporary folder, and every service that the case starts is ended and looked at."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='msad-test-')
        self.services, self.receivers = [], []

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def receiver(self, name='received', *options, start=True, port=None, ae_title='DEMO'):
        made = Receiver(self.path(name), ae_title, port, *options)
        self.receivers.append(made)
        return made.start() if start else made

    def msad(self, name='msad', destinations=(), config=None, **settings):
        made = Msad(self.path(name), destinations, config, **settings)
        self.services.append(made)
        return made.start()

    def ct_with_report(self, name='ct'):
        return Phantom(self.path(name), '--modality', 'CT', '--rows', '96', '--cols', '112', '--slices', '12',
                       '--seed', str(1 + sum(map(ord, name))), report=self.path(name + '-report.dcm'))

    def big_ct_with_report(self):
        return Phantom(self.path('big'), '--modality', 'CT', '--rows', '256', '--cols', '256', '--slices', '60',
                       report=self.path('big-report.dcm'))

    def mr_with_boxes(self, name='mr'):
        """Odd sizes: the bits of a frame do not fill whole bytes."""
        return Phantom(self.path(name), '--modality', 'MR', '--rows', '83', '--cols', '101', '--slices', '10',
                       '--orientation', 'sagittal')

    def tearDown(self):
        try:
            for service in self.services:
                if service.process is not None and service.process.poll() is None:
                    for path in ('/v1/jobs', '/v1/series', '/v1/annotations', '/v1/associations', '/metrics'):
                        self.assertNotIn(CANARY.encode(), service.get(path).body, 'patient data at ' + path)
                    self.assertEqual(service.stop(), 0, 'exit status after SIGTERM')
                elif service.process is not None:
                    self.fail('msad ended by itself with status %s' % service.process.poll())
                self.assertNotIn(CANARY, service.log(), 'patient data in the log')
        finally:
            for service in self.services:
                if service.process is not None and service.process.poll() is None:
                    service.process.kill()
                    service.process.wait()
            for receiver in self.receivers:
                receiver.stop()
            if not os.environ.get('MSAD_TEST_KEEP'):
                shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self):
        return '\n'.join('--- %s\n%s' % (s.log_path, '\n'.join(s.log().split('\n')[-40:])) for s in self.services)

    # What a result must be, whoever made it

    def assert_valid_seg(self, path):
        """dciodvfy finds no error, and pydicom reads as many frames as are said."""
        said = run_tool(['dciodvfy', '-new', path], None).stdout
        errors = [line for line in said.split('\n') if line.startswith('Error')]
        self.assertEqual(errors, [], 'dciodvfy:\n' + said)
        seg = pydicom.dcmread(path)
        self.assertEqual(seg.SOPClassUID, '1.2.840.10008.5.1.4.1.1.66.4')
        self.assertEqual(seg.SegmentationType, 'BINARY')
        self.assertEqual(seg.NumberOfFrames, len(seg.PerFrameFunctionalGroupsSequence))
        bits = seg.Rows * seg.Columns * seg.NumberOfFrames
        self.assertEqual(len(seg.PixelData), (bits + 7) // 8 + (bits + 7) // 8 % 2)
        return seg

    def assert_valid_report(self, path, job):
        """dciodvfy and DCMTK's reader of structured reports find no error; every segment found is measured."""
        said = run_tool(['dciodvfy', '-new', path], None).stdout
        self.assertEqual([line for line in said.split('\n') if line.startswith('Error')], [], 'dciodvfy:\n' + said)
        text = run_tool(['dsrdump', path]).stdout
        self.assertEqual(text.count('"Referenced Segment"'), sum(s['voxels'] > 0 for s in job['segments']))
        for segment in job['segments']:
            if segment['voxels'] > 0:
                self.assertIn('"Volume")="%s"' % ('%.3f' % segment['volume_ml']).rstrip('0').rstrip('.'), text)
        self.assertEqual(text.count('"Not detected"'), sum(s['voxels'] == 0 for s in job['segments']))

    def assert_geometry(self, seg, headers):
        """Every frame lies exactly where the image that it names lies: the same strings. Invariant 6."""
        by_uid = {h.SOPInstanceUID: h for h in headers}
        for frame in seg.PerFrameFunctionalGroupsSequence:
            source_item = frame.DerivationImageSequence[0].SourceImageSequence[0]
            source = by_uid[source_item.ReferencedSOPInstanceUID]
            plane = frame.PlanePositionSequence[0].ImagePositionPatient
            self.assertEqual([str(v) for v in plane], [str(v) for v in source.ImagePositionPatient])
            shared = seg.SharedFunctionalGroupsSequence[0]
            measures = (shared if 'PixelMeasuresSequence' in shared else frame).PixelMeasuresSequence[0]
            orientation = (shared if 'PlaneOrientationSequence' in shared else frame).PlaneOrientationSequence[0]
            self.assertEqual([str(v) for v in measures.PixelSpacing], [str(v) for v in source.PixelSpacing])
            self.assertEqual([str(v) for v in orientation.ImageOrientationPatient],
                             [str(v) for v in source.ImageOrientationPatient])
            self.assertEqual(source_item.SpatialLocationsPreserved, 'YES')
        first = next(iter(by_uid.values()))
        self.assertEqual((seg.Rows, seg.Columns), (first.Rows, first.Columns))
        self.assertEqual(seg.StudyInstanceUID, first.StudyInstanceUID)
        self.assertEqual(seg.FrameOfReferenceUID, first.FrameOfReferenceUID)

    def masks(self, seg):
        """Segment number to the set of (source UID) of its frames and the number of pixels set."""
        pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
        found = {}
        for index, frame in enumerate(seg.PerFrameFunctionalGroupsSequence):
            number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            found.setdefault(number, {})[source] = pixels[index]
        return found

    def volumes(self, seg, headers):
        """Segment label to its mask (slices, rows, columns) in a series whose headers these are, in their order."""
        place = {h.SOPInstanceUID: k for k, h in enumerate(headers)}
        names = {s.SegmentNumber: s.SegmentLabel for s in seg.SegmentSequence}
        found = {name: np.zeros((len(headers), seg.Rows, seg.Columns), bool) for name in names.values()}
        for number, frames in self.masks(seg).items():
            for source, pixels in frames.items():
                found[names[number]][place[source]] = pixels
        return found

    def assert_found(self, phantom, seg):
        """Each object of the report, where it was prompted: what the box alone says is far from enough."""
        truth, found = phantom.truth(), self.volumes(seg, phantom.headers)
        for box in phantom.boxes:
            true, mask = (v[box.label][box.slice:box.slice + 1] for v in (truth, found))
            self.assertLess(dice(filled(true), true), 0.93, box.label)
            self.assertGreater(dice(mask, true), 0.95, box.label)


class Result(unittest.TextTestResult):
    """Says what the services logged at the moment of a failure."""

    def note(self, test):
        if hasattr(test, 'logs'):
            print(test.logs(), file=sys.stderr)

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test)


def main():
    program = unittest.main(module='__main__', exit=False, verbosity=2,
                            testRunner=unittest.TextTestRunner(resultclass=Result, verbosity=2))
    result = program.result
    if result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() else 1)
