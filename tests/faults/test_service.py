#!/usr/bin/python3
"""Invariants 1, 2 and 4 on the whole service: the real msad under the shim, killed in each of its processes, out of room,
and cut off at any point of its log. With --long (MSAD_TEST_LONG=1) more of each."""
import errno
import os
import shutil
import struct
import sys

import faults

sys.path.insert(0, os.path.join(os.path.dirname(faults.HERE), 'integration'))
# pylint: disable=wrong-import-position
import dul  # noqa: E402
import harness  # noqa: E402


class Promises:
    """Success, read off what the receive roles send: C-STORE-RSP of status 0000 (PS3.7 section 9.3.1)."""

    def __init__(self):
        self.streams = {}

    def __call__(self, op):
        data = self.streams.get(op.pid, b'') + op.data
        found = []
        while len(data) >= 6 and data[0] in range(1, 8):
            size = 6 + struct.unpack('>I', data[2:6])[0]
            if len(data) < size:
                break
            if data[0] == 4:
                found += self.of_command(data[12:size])
            data = data[size:]
        self.streams[op.pid] = data if data[:1] and data[0] in range(1, 8) else b''
        return found

    @staticmethod
    def of_command(data):
        values, at = {}, 0
        while at + 8 <= len(data):
            group, number, size = struct.unpack('<HHI', data[at:at + 8])
            if group != 0:
                return []
            values[number] = data[at + 8:at + 8 + size]
            at += 8 + size
        if values.get(0x100) != b'\x01\x80' or values.get(0x900) != b'\0\0':
            return []
        return ['stored ' + values[0x1000].rstrip(b'\0 ').decode()]


class Service(harness.Case):
    def faulty(self, log=None, **settings):
        """msad under the shim; the plan is empty yet."""
        service = harness.Msad(self.path('msad'), **settings)
        self.plan = faults.Plan(self.path('plan'))
        service.environment.update((k, v) for k, v in faults.environment(service.folder, self.plan, log).items()
                                   if k.startswith(('FAULT_', 'LD_')))
        self.services.append(service)
        self.promises = []
        return service.start()

    def store(self, service, number):
        """One object; what is acknowledged is promised. Returns the status, None when the association was cut."""
        uid = '2.25.%d' % number
        try:
            status = dul.store_bytes(service.dicom_port, bytes([number % 251]) * (3000 + number), uid)
        except (OSError, dul.Refused):
            return None
        if status == 0:
            self.promises.append('stored ' + uid)
        return status

    def check(self, service):
        """Of a service that has ended."""
        copy = self.path('copy')
        shutil.copytree(service.storage, copy)
        with faults.Checker() as checker:
            self.assertIsNone(checker.ask(copy, self.promises))
        shutil.rmtree(copy)

    def test_every_receive_role_killed_at_each_of_its_changes(self):
        """F2: the object at hand is not acknowledged, the next one is."""
        service = self.faulty()
        for k in range(1, 100):
            self.plan.set('any', k, 'kill', process='receive')
            status = self.store(service, k)
            if not self.plan.fired():
                self.assertEqual(status, 0)
                break
            # killed after the catalogue has it: it may have been acknowledged all the same
            self.assertIn(status, (None, 0))
            self.plan.set('never')
            self.assertEqual(self.store(service, k), 0, 'sent again')
        self.assertGreater(k, 5)
        print('%d receive roles killed' % (k - 1))
        self.assertEqual(service.stop(), 0)
        self.check(service)

    def test_core_killed_at_each_of_its_changes(self):
        """F2, F14: with a role that waits for its commit."""
        service = self.faulty()
        kills = 0
        for k in range(1, 1000, 1 if faults.LONG else 5):
            self.plan.set('any', k, 'kill', process='core')
            status = self.store(service, k)
            if status == 0 and not self.plan.fired():  # some of it follows the answer
                try:
                    service.wait_quiet(0.5)
                except OSError:
                    pass
                if not self.plan.fired():
                    self.plan.set('never')  # or the stop comes to it
                    break
            kills += 1
            harness.until('core to be gone', lambda: service.process.poll() is not None)
            self.plan.set('never')
            service.start()
            self.assertEqual(self.store(service, k), 0, 'sent again')
        print('core killed %d times' % kills)
        self.assertGreater(kills, 1)
        self.assertEqual(service.stop(), 0)
        self.check(service)

    def test_no_success_without_room(self):
        """F5, F6: each write, sync and close of a receive role finds the disk full: A700, and the same again is taken."""
        service = self.faulty()
        number = 0
        for call in ('open', 'write', 'sync', 'close', 'rename'):
            for k in range(1, 50):
                number += 1
                self.plan.set(call, k, str(errno.ENOSPC), ending='.part' if call in ('open', 'close') else '*', process='receive')
                status = self.store(service, number)
                if not self.plan.fired():
                    self.assertEqual(status, 0)
                    break
                self.assertEqual(status, 0xa700, '%s %d' % (call, k))
                self.assertEqual(self.store(service, number), 0, 'sent again')
            self.assertGreater(k, 1, call)
        self.assertEqual(service.get('/readyz').status, 200)
        self.assertEqual(service.stop(), 0)
        self.check(service)

    def test_power_cut_at_any_point_of_a_whole_job(self):
        """F3: what the sender was told is true in every state that a power cut may leave."""
        receiver = self.receiver()
        log = self.path('log')
        service = self.faulty(log, destinations=[receiver], cache_disk_mib=0)
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('succeeded')
        self.assertEqual(service.stop(), 0)
        promises = Promises()
        told = sum(len(promises(op)) for op in faults.read_log(log) if op.kind == faults.SAID)
        self.assertEqual(told, len(harness.dicom_files(ct.folder)) + 1, 'each Success is seen in the log')
        with faults.Checker() as checker:
            states, wrong = faults.replay(log, checker, Promises(), limit=8000 if faults.LONG else 300)
        self.assertIsNone(wrong)
        print('%d states after a power cut' % states)
        self.assertGreater(states, 100)


if __name__ == '__main__':
    harness.main()
