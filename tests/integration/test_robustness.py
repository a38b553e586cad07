#!/usr/bin/python3
"""Invariants 2, 3, 5, 7, 8: hostile objects and requests cost at most one role, and each says what was wrong."""
import copy
import os
import random
import struct
import time
import unittest.mock

import pydicom

import dul
import harness


def explicit(group, number, vr, value):
    """One element, Explicit VR Little Endian (PS3.5 section 7.1.2)."""
    value += b'\0' * (len(value) % 2)
    long_form = vr in ('OB', 'OW', 'SQ', 'UN', 'UT')
    head = struct.pack('<HH2s', group, number, vr.encode())
    return head + (struct.pack('<HI', 0, len(value)) if long_form else struct.pack('<H', len(value))) + value


def identity(sop_instance):
    return (explicit(8, 0x16, 'UI', dul.CT_IMAGE.encode()) + explicit(8, 0x18, 'UI', sop_instance.encode()))


def nested(sop_instance, depth):
    """`depth` sequences of undefined length, one in the other, none closed: kills parsers that recurse."""
    opening = struct.pack('<HH2sHI', 8, 0x1140, b'SQ', 0, 0xffffffff) + struct.pack('<HHI', 0xfffe, 0xe000, 0xffffffff)
    return identity(sop_instance) + opening * depth


class Robustness(harness.Case):
    def rejected(self, service, count):
        """UID to reason of the rejected instances, once there are `count`; every one has a sentence."""
        harness.until('%d rejected instances' % count, lambda: len(service.rejected()) >= count)
        for instance in service.rejected():
            self.assertEqual(instance['state'], 'rejected')
            self.assertGreater(len(instance['reason']), 10, instance)
            self.assertIn(' ', instance['reason'])
        return {i['sop_instance_uid']: i['reason'] for i in service.rejected()}

    def assert_works(self, service):
        """A good series still makes a result."""
        ct = self.ct_with_report('good')
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('succeeded', series_uid=ct.series_uid)

    def hostile(self, ct):
        """UID to a dataset that no PACS should send."""
        good = pydicom.dcmread(harness.dicom_files(ct.folder)[0])
        datasets = {
            '2.25.12': random.Random(1).randbytes(5000), '2.25.13': b'\xff' * 4000,
            '2.25.14': nested('2.25.14', 20000), '2.25.15': nested('2.25.15', 200),
            '2.25.16': identity('2.25.16') + explicit(0x7fe0, 0x10, 'OW', bytes(100)),
            '2.25.17': identity('2.25.17') + struct.pack('<HH2sHI', 0x7fe0, 0x10, b'OW', 0, 0xfffffff0) + bytes(64),
        }

        def broken(uid, change):
            made = copy.deepcopy(good)
            made.SOPInstanceUID = uid
            change(made)
            path = self.path(uid + '.dcm')
            made.file_meta.MediaStorageSOPInstanceUID = uid
            made.save_as(path, write_like_original=False)
            datasets[uid] = harness.dataset_bytes(path)

        broken('2.25.21', lambda d: setattr(d, 'Rows', 65535))
        broken('2.25.22', lambda d: setattr(d, 'BitsAllocated', 7))
        broken('2.25.23', lambda d: delattr(d, 'SeriesInstanceUID'))
        broken('2.25.24', lambda d: setattr(d, 'SamplesPerPixel', 200))
        broken('2.25.25', lambda d: setattr(d, 'SeriesInstanceUID', '../../etc/passwd'))
        broken('2.25.26', lambda d: setattr(d, 'SOPClassUID', '1.2.840.10008.5.1.4.1.1.6.1'))
        broken('2.25.27', lambda d: setattr(d, 'SOPInstanceUID', '2.25.9999'))
        return datasets

    def test_hostile_datasets_are_kept_and_rejected_with_a_reason(self):
        service = self.msad()
        datasets = self.hostile(self.ct_with_report())
        for uid, dataset in datasets.items():
            self.assertEqual(dul.store_bytes(service.dicom_port, dataset, uid), 0, uid)
        reasons = self.rejected(service, len(datasets))
        self.assertEqual(set(reasons), set(datasets))
        for uid, reason in sorted(reasons.items()):
            print('    %s: %s' % (uid, reason))
        self.assertNotIn('signal', reasons['2.25.12'], 'random bytes are refused, they do not crash')
        self.assert_works(service)

    def test_object_without_a_dataset_is_not_acknowledged(self):
        service = self.msad()
        self.assertNotEqual(dul.store_bytes(service.dicom_port, b'', '2.25.11'), 0)
        self.assertEqual(service.metric('catalogue_instances'), 0)

    def test_truncated_pixels_fail_the_job_or_the_instance_never_silently(self):
        """A header that is fine over pixels that end early: found when the pixels are read at the latest."""
        service = self.msad()
        ct = self.ct_with_report()
        for number, path in enumerate(harness.dicom_files(ct.folder)):
            dataset = harness.dataset_bytes(path)
            if number == 3:
                dataset = dataset[:-len(dataset) // 3]
            dul.store_bytes(service.dicom_port, dataset, str(harness.read_uid(path)))
        service.send(ct.report, tool='storescu')
        harness.until('a reason', lambda: service.rejected() or [
            j for j in service.jobs() if j['state'] == 'failed' and service.job(j['id'])['reason']])
        self.assert_works(service)

    def test_broken_real_files(self):
        folder = os.path.join(harness.SHARED, 'data', 'broken')
        if not os.path.isdir(folder):
            self.skipTest('no real data beside the repository')
        service = self.msad()
        sent = 0
        for path in harness.dicom_files(folder):
            with open(path, 'rb') as file:
                data = file.read()
            dataset = harness.dataset_bytes(data) if data[128:136] == b'DICM\x02\0\0\0' else data
            for syntax in (dul.EXPLICIT_LE, dul.IMPLICIT_LE):
                uid = '2.25.%d' % (1000 + sent)
                self.assertEqual(dul.store_bytes(service.dicom_port, dataset, uid, syntax=syntax), 0, path)
                sent += 1
        service.wait_quiet()
        self.assertEqual(service.metric('catalogue_instances'), sent)
        self.assertGreater(len(service.rejected()), sent // 2)
        self.assert_works(service)

    def test_same_uid_with_other_bytes_keeps_both(self):
        service = self.msad()
        self.assertEqual(dul.store_bytes(service.dicom_port, b'\1' * 100, '2.25.30'), 0)
        self.assertEqual(dul.store_bytes(service.dicom_port, b'\2' * 100, '2.25.30'), 0)
        self.assertEqual(dul.store_bytes(service.dicom_port, b'\2' * 100, '2.25.30'), 0)
        harness.until('both', lambda: service.metric('catalogue_instances') == 2)
        service.wait_quiet()
        self.assertEqual(service.metric('catalogue_instances'), 2)

    def test_requests_that_make_no_sense(self):
        service = self.msad()
        wanted = (
            ('GET', '/v1/jobs/ffffffffffffffffffffffffffffffff', None, (404,)),
            ('GET', '/v1/jobs/../../etc/passwd', None, (400, 404)),
            ('GET', '/v1/jobs/%00', None, (400, 404)),
            ('GET', '/nowhere', None, (404,)),
            ('DELETE', '/v1/jobs', None, (405,)),
            ('PUT', '/healthz', b'{}', (405,)),
            ('POST', '/v1/annotations', b'{', (400,)),
            ('POST', '/v1/annotations', b'[]', (400, 422)),
            ('POST', '/v1/annotations', b'{"series_uid": 1}', (400, 422)),
            ('POST', '/v1/annotations', b'[' * 100000, (400,)),
            ('POST', '/v1/annotations', b'"' + b'a' * (20 << 20) + b'"', (413,)),
            ('GET', '/v1/jobs?limit=-1', None, (400, 422)),
            ('GET', '/v1/jobs?state=nonsense', None, (400, 422)),
        )
        for method, path, body, statuses in wanted:
            try:
                reply = service.request(method, path, body)
            except OSError:
                self.assertIn(413, statuses, '%s %s' % (method, path))  # closed on a body that nobody will read
                continue
            self.assertIn(reply.status, statuses, '%s %s: %s' % (method, path, reply.body[:300]))
            self.assertEqual(reply.headers['Content-Type'], 'application/problem+json', path)
            problem = reply.json()
            self.assertEqual(problem['status'], reply.status)
            self.assertGreater(len(problem['detail']), 10, problem)
        self.assertEqual(service.get('/healthz').status, 200)
        self.assertEqual(service.get('/openapi.json').json()['openapi'][:2], '3.')

    def test_memory_of_core_stays_flat(self):
        # In a build with the address sanitizer, freed memory is held back (256 MB) unless told otherwise; elsewhere this says nothing.
        options = os.environ.get('ASAN_OPTIONS', '')
        with unittest.mock.patch.dict(os.environ, ASAN_OPTIONS=options + ':quarantine_size_mb=0:thread_local_quarantine_size_kb=0'):
            service = self.msad()

        def associations(count):
            for _ in range(count):
                with dul.Peer(service.dicom_port) as peer:
                    peer.associate([(dul.VERIFICATION, [dul.IMPLICIT_LE])])
                    self.assertEqual(peer.echo(), 0)
                    peer.release()
            harness.until('the receive roles to end', lambda: not service.roles('receive'), 30)

        def resident_kib():
            with open('/proc/%d/status' % service.process.pid, encoding='ascii') as status:
                return next(int(line.split()[1]) for line in status if line.startswith('VmRSS'))

        associations(100)  # caches, the allocator's arenas, SQLite's page cache
        before, files_before = resident_kib(), len(os.listdir('/proc/%d/fd' % service.process.pid))
        associations(200)
        after, files_after = resident_kib(), len(os.listdir('/proc/%d/fd' % service.process.pid))
        # 200 leaks of one association's bookkeeping (about 5 kB) would be 1 MiB.
        self.assertLess(after - before, 1024, 'core grew from %d to %d KiB' % (before, after))
        self.assertLessEqual(files_after, files_before + 2, 'core leaks file descriptors')

    def test_sigterm_lets_an_association_end(self):
        service = self.msad()
        with dul.Peer(service.dicom_port) as peer:
            peer.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
            peer.store_command(dul.CT_IMAGE, '2.25.40')
            peer.pdv(1, bytes(1000), False, False)
            service.process.terminate()
            time.sleep(0.5)
            peer.pdv(1, bytes(1000), False, True)
            self.assertEqual(peer.read_status(), 0, 'an object under way is finished')
            peer.release()
        harness.until('msad to end', lambda: service.process.poll() is not None, 60)
        self.assertEqual(service.process.poll(), 0)
        service.process = None
        service.start()
        harness.until('the object after a restart', lambda: service.metric('catalogue_instances') == 1)

    def test_second_service_on_the_same_data_is_refused(self):
        service = self.msad()
        second = harness.Msad(service.folder)
        environment = dict(second.environment, MSAD_DICOM_PORT='0', MSAD_HTTP_PORT='0')
        said = harness.run_tool([os.path.join(harness.BUILD, 'msad')], None, env=environment)
        self.assertNotEqual(said.returncode, 0)
        self.assertTrue(service.is_ready())

    def test_taken_port_is_named(self):
        service = self.msad()
        second = harness.Msad(self.path('second'))
        environment = dict(second.environment, MSAD_DICOM_PORT=str(service.dicom_port), MSAD_HTTP_PORT='0')
        said = harness.run_tool([os.path.join(harness.BUILD, 'msad')], None, env=environment)
        self.assertNotEqual(said.returncode, 0)
        self.assertIn(str(service.dicom_port), said.stdout)


if __name__ == '__main__':
    harness.main()
