#!/usr/bin/python3
"""Invariants 1, 2 and 7 when the machine is at fault. A disk that is full or fails: never Success without a whole
object, nothing given up for good because there was no room for a moment, a failed sync ends the service with a
sentence. Memory, the model file and a stop: each says what to do, and no job pays for it."""
import errno
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import dul
import harness

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'faults'))
import faults  # noqa: E402  # pylint: disable=wrong-import-position

VOLUME_MIB = 24
PAGE = 4096


class Volume:
    """A small tmpfs whose free space is set to the page."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix='msad-volume-')
        self.ballast = os.path.join(self.path, 'ballast')
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%dm' % VOLUME_MIB, 'msad-test', self.path],
                              check=False, stderr=subprocess.DEVNULL)
        if done.returncode != 0:
            os.rmdir(self.path)
            raise unittest.SkipTest('only root may mount the small disk that this needs')

    def free_bytes(self):
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def leave(self, size):
        """About `size` bytes are free afterwards; others may take some meanwhile."""
        self.clear()
        with open(self.ballast, 'wb') as file:
            while self.free_bytes() > size:
                try:
                    file.write(bytes(PAGE))
                    file.flush()
                except OSError:
                    break

    def clear(self):
        if os.path.exists(self.ballast):
            os.remove(self.ballast)

    def close(self):
        subprocess.run(['umount', '-l', self.path], check=True)
        os.rmdir(self.path)


class FullDisk(harness.Case):
    def setUp(self):
        super().setUp()
        self.volume = Volume()
        self.addCleanup(self.volume.close)  # after tearDown, which stops the services

    def msad_on_volume(self, destinations=(), **settings):
        """Without marks: they would refuse before the disk is full."""
        settings = dict({'storage_soft_free_mib': 0, 'storage_hard_free_mib': 0}, **settings)
        return self.msad(destinations=destinations, storage_path=os.path.join(self.volume.path, 'data'), **settings)

    def worker(self, service):
        pids = harness.until('a worker with the model', service.model_workers)
        self.assertEqual(len(pids), 1)
        return pids[0]

    def test_sweep_of_free_space_around_an_object(self):
        service = self.msad_on_volume()
        ct = harness.Phantom(self.path('ct'), '--rows', '96', '--cols', '112', '--slices', '60')
        files = harness.dicom_files(ct.folder)
        pages = os.path.getsize(files[0]) // PAGE + 1
        statuses, stored = [], []
        for extra in range(-3, 16):
            path = files[len(stored)]
            self.volume.leave((pages + extra) * PAGE)
            statuses.append(dul.store_bytes(service.dicom_port, harness.dataset_bytes(path), harness.read_uid(path)))
            if statuses[-1] == 0:
                stored.append(path)
        self.assertEqual(set(statuses), {0, 0xa700}, 'some fit, some do not')
        self.volume.leave(0)
        path = files[len(stored)]
        self.assertEqual(dul.store_bytes(service.dicom_port, harness.dataset_bytes(path), harness.read_uid(path)), 0xa700)
        self.assertEqual(service.get('/readyz').status, 200)
        self.volume.clear()
        for path in files[len(stored):]:
            self.assertEqual(dul.store_bytes(service.dicom_port, harness.dataset_bytes(path), harness.read_uid(path)), 0)
        service.wait_job('waiting_prompt')
        self.assertEqual(service.rejected(), [], 'a full disk is not the fault of an instance')
        self.assertEqual([s['instances'] for s in service.json('/v1/series')['series']], [len(files)])
        for root, _, names in os.walk(os.path.join(self.volume.path, 'data', 'blobs')):
            for name in names:
                said = harness.run_tool(['sha256sum', os.path.join(root, name)]).stdout
                self.assertEqual(said.split()[0], name)

    def test_marks_refuse_in_time_and_recover_by_themselves(self):
        """F7. The marks of a 24 MiB volume: a tenth and a twentieth of it."""
        service = self.msad_on_volume(dicom_max_associations=4, storage_soft_free_mib=4096, storage_hard_free_mib=1024)

        def room():
            reply = service.get('/readyz')
            return reply.json()['disk']['room'] if reply.status == 200 else 'full'
        self.assertEqual(room(), 'enough')
        self.volume.leave(2 << 20)
        harness.until('it to be low', lambda: room() == 'low')
        with dul.Peer(service.dicom_port) as one:
            one.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
            harness.until('it to be counted', lambda: service.metric('associations_open') == 1)
            with dul.Peer(service.dicom_port) as two, self.assertRaises(dul.Refused) as refused:
                two.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])  # one of four
            self.assertEqual((refused.exception.kind, refused.exception.body[1]), (3, 2), 'transient')
            # Inside an association: A700, and nothing of the object is kept
            self.volume.leave(1 << 20)
            self.assertEqual(one.store(dul.CT_IMAGE, '2.25.1', b'\1' * 3000), 0xa700)
            harness.until('it to be full', lambda: room() == 'full')
            self.assertIn(b'storage.hard_free_mib', service.get('/readyz').body)
            with dul.Peer(service.dicom_port) as two, self.assertRaises(dul.Refused) as refused:
                two.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
            self.assertEqual((refused.exception.kind, refused.exception.body[1]), (3, 2), 'transient')
            self.assertEqual(service.post('/v1/annotations', b'\2' * 3000, content_type='application/dicom').status, 503)
            said = harness.until('the reason', lambda: [a for a in service.json('/v1/associations')['refusals']
                                                        if 'storage.hard_free_mib' in a['reason']])
            self.assertTrue(said)
            self.volume.clear()
            self.assertEqual(one.store(dul.CT_IMAGE, '2.25.1', b'\1' * 3000), 0, 'room is there again at once')
            one.release()
        harness.until('it to be enough', lambda: room() == 'enough')
        self.assertEqual(dul.store_bytes(service.dicom_port, b'\1' * 3000, '2.25.2'), 0)
        log = service.log()
        self.assertEqual([log.count('disk room=' + r) for r in ('low', 'full', 'enough')], [1, 1, 1], 'once per change')

    def test_full_while_a_job_writes_its_result(self):
        service = self.msad_on_volume()
        ct = self.ct_with_report()
        worker = self.worker(service)
        os.kill(worker, signal.SIGSTOP)
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('running')
        self.volume.leave(0)
        os.kill(worker, signal.SIGCONT)
        harness.until('the try to end', lambda: 'failure=not_counted' in service.log())
        self.volume.clear()
        job = service.wait_job('succeeded')
        self.assertEqual(job['attempt'], 1, 'the try that found no room is not counted')

    def test_full_while_a_delivery_ends(self):
        receiver = self.receiver('received', '--sleep-after', '2')
        service = self.msad_on_volume([receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        harness.until('the delivery to begin', lambda: receiver.stores() > 0, pause_s=0.02)
        self.volume.leave(0)
        harness.until('the delivery to end', lambda: 'outcome=delivered' in service.log())
        harness.until('it to wait for room', lambda: 'recorded_later' in service.log())
        self.volume.clear()
        service.wait_job('succeeded')
        self.assertEqual(receiver.stores(), 1, 'it is not sent again')


class FailingDisk(harness.Case):
    def faulty(self, ending):
        """msad as a disk lets it down at the next sync of a file with this ending; after a first object that is well."""
        service = harness.Msad(self.path('msad'))
        plan = faults.Plan(self.path('plan'))
        service.environment.update(LD_PRELOAD=faults.SHIM, FAULT_ROOT=service.folder, FAULT_PLAN=plan.path)
        service.start()
        self.addCleanup(lambda: service.process is not None and service.process.kill())
        self.assertEqual(dul.store_bytes(service.dicom_port, b'\1' * 3000, '2.25.1'), 0)
        plan.set('sync', 1, str(errno.EIO), ending)
        return service

    @staticmethod
    def blob_folders(service):
        blobs = os.path.join(service.storage, 'blobs')
        return {name for name in os.listdir(blobs) if os.listdir(os.path.join(blobs, name))}

    def test_a_failed_sync_is_not_acknowledged_and_ends_the_service(self):
        # the object; the folder it goes to; the catalogue's log
        folder = None
        for ending in ('.part', '/blobs/', 'catalogue.sqlite-wal'):
            with self.subTest(ending):
                service = self.faulty('/blobs/' + folder if ending == '/blobs/' else ending)
                before = self.blob_folders(service)
                try:
                    status = dul.store_bytes(service.dicom_port, b'\2' * 3000, '2.25.2')
                except (OSError, dul.Refused):
                    status = None  # ended before it could answer
                self.assertIn(status, (None, 0xa700))
                harness.until('msad to end', lambda service=service: service.process.poll() is not None, 20)
                self.assertEqual(service.process.poll(), 1)
                self.assertRegex(service.log(), 'fatal why=".*fsync.*check the disk that holds storage.path, then start msad again"')
                service.environment.pop('LD_PRELOAD')
                service.start()
                self.assertGreaterEqual(service.metric('catalogue_instances'), 1)
                self.assertEqual(dul.store_bytes(service.dicom_port, b'\2' * 3000, '2.25.2'), 0)
                self.assertEqual(service.stop(), 0)
                folder, = self.blob_folders(service) - before
                shutil.rmtree(service.folder)

    def test_an_upload_whose_sync_fails_is_not_acknowledged_either(self):
        for ending in ('.part', 'catalogue.sqlite-wal'):
            with self.subTest(ending):
                service = self.faulty(ending)
                try:
                    status = service.post('/v1/annotations', b'\2' * 3000, content_type='application/dicom').status
                except OSError:
                    status = 500  # ended before it could answer
                self.assertGreaterEqual(status, 500)
                harness.until('msad to end', lambda service=service: service.process.poll() is not None, 20)
                self.assertRegex(service.log(), 'fatal why=".*fsync.*check the disk that holds storage.path, then start msad again"')
                service.environment.pop('LD_PRELOAD')
                service.start()
                status = service.post('/v1/annotations', b'\2' * 3000, content_type='application/dicom').status
                self.assertIn(status, (200, 201))  # the row may have come to the disk all the same
                self.assertEqual(service.stop(), 0)
                shutil.rmtree(service.folder)


class Workers(harness.Case):
    def test_a_replaced_model_is_named_and_not_used(self):
        model = self.path('model.safetensors')
        shutil.copy(harness.bundled_model(), model)
        service = self.msad(model_path=model)
        with open(model, 'rb') as file:
            other = bytearray(file.read())
        other[-3] ^= 1
        with open(model + '.new', 'wb') as file:
            file.write(other)
        os.rename(model + '.new', model)
        os.kill(service.model_workers()[0], signal.SIGKILL)
        harness.until('the reason', lambda: b'model file changed while msad runs; restart' in service.get('/readyz').body)
        connection = http.client.HTTPConnection('127.0.0.1', service.http_port, timeout=20)
        self.addCleanup(connection.close)
        for path, wanted in (('/healthz', None), ('/readyz', 'close')):
            connection.request('GET', path)  # asks to keep the connection
            reply = connection.getresponse()
            reply.read()
            self.assertEqual(reply.headers['Connection'], wanted, 'who is turned away leaves room: ' + path)
        self.assertLess(service.log().count('model file changed'), 10, 'it is not tried without a pause')
        self.assertEqual(service.stop(), 0)
        service.start()

    def test_a_job_that_needs_too_much_memory_says_so(self):
        service = self.msad(work_memory_mib=512, work_attempts=1)
        huge = harness.Phantom(self.path('huge'), '--rows', '1024', '--cols', '1024', '--slices', '130',
                               report=self.path('huge.dcm'))
        service.send(huge.folder, huge.report)
        job = service.wait_job('failed')
        self.assertIn('work.memory_mib is 512', job['reason'])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('succeeded', series_uid=ct.series_uid)


class Stopping(harness.Case):
    def test_a_stop_does_not_cost_an_attempt(self):
        service = self.msad(work_attempts=1)
        ct = self.ct_with_report()
        worker = harness.until('a worker with the model', service.model_workers)[0]
        os.kill(worker, signal.SIGSTOP)
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('running')
        service.process.terminate()
        harness.until('it to stop', lambda: 'core stopping' in service.log())
        service.process.terminate()  # at once
        harness.until('msad to end', lambda: service.process.poll() is not None, 30)
        service.start()
        self.assertEqual(service.wait_job('succeeded')['attempt'], 1)


if __name__ == '__main__':
    harness.main()
