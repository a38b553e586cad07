#!/usr/bin/python3
"""F20 and F21: a connection that is cut, half closed, delayed, torn into bytes or loses its answers, at each boundary of a
PDU and inside each. What was acknowledged is stored, nothing partial is, a result arrives once and byte for byte."""
import os
import shutil
import sys

import chaos
import faults

sys.path.insert(0, os.path.join(os.path.dirname(faults.HERE), 'integration'))
# pylint: disable=wrong-import-position
import dul  # noqa: E402
import harness  # noqa: E402


def places(stream):
    """Each boundary of a PDU, a byte behind it, and the middle of each PDU."""
    edges = chaos.pdu_boundaries(bytes(stream))
    found = set(edges[:-1]) | {e + 1 for e in edges[:-1]} | {(a + b) // 2 for a, b in zip(edges, edges[1:])}
    return sorted(found)


class Chaos(harness.Case):
    def proxy(self, target):
        made = chaos.Proxy(target)
        self.addCleanup(made.close)
        return made

    def test_towards_us(self):
        service = self.msad(dicom_idle_timeout_s=2, dicom_associate_timeout_s=2)
        proxy = self.proxy(service.dicom_port)
        number, promises, seen = 0, [], {None: 0, 0: 0}

        def store():
            uid = '2.25.%d' % number
            try:
                with dul.Peer(proxy.port, 10) as peer:
                    peer.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
                    status = peer.store(dul.CT_IMAGE, uid, bytes([number % 251]) * 5000, piece=2000)
                    if status == 0:
                        promises.append('stored ' + uid)
                    peer.release()
            except (OSError, dul.Refused):
                status = 0 if promises and promises[-1] == 'stored ' + uid else None
            return status

        self.assertEqual(store(), 0)
        sweeps = {direction: places(proxy.streams[direction]) for direction in ('up', 'down')}
        for direction, found in sweeps.items():
            self.assertGreater(len(found), 6)
            for mode in ('reset', 'close', 'half', 'split', 'delay'):
                for at in found[::1 if faults.LONG or mode == 'reset' else 5]:
                    number += 1
                    proxy.plan(mode, at, direction)
                    status = store()
                    self.assertIn(status, seen, '%s at %d' % (mode, at))
                    seen[status] += 1
                    if mode in ('split', 'delay'):
                        self.assertEqual(status, 0, '%s at %d: slow is not broken' % (mode, at))
        print('cut: %d, acknowledged: %d' % (seen[None], seen[0]))
        self.assertGreater(min(seen.values()), 5)
        proxy.plan('pass')
        number += 1
        self.assertEqual(store(), 0)
        harness.until('the cut associations to end', lambda: service.metric('associations_open') == 0)
        self.assertEqual(service.stop(), 0)
        with faults.Checker() as checker:
            shutil.copytree(service.storage, self.path('copy'))
            self.assertIsNone(checker.ask(self.path('copy'), promises))

    def test_towards_the_destination(self):
        """Each try is cut at another place, until the last gets through: one object at the receiver, of the same bytes."""
        receiver = self.receiver()
        proxy = self.proxy(receiver.port)
        broken = harness.Receiver(self.path('received'), receiver.ae_title, proxy.port)  # its address; never started
        service = self.msad(destinations=[broken], delivery_timeout_s=2)
        ct = self.ct_with_report()
        for mode, direction, at in (('reset', 'up', 300), ('close', 'up', 5000), ('half', 'up', 1000), ('swallow', 'down', 200),
                                    ('reset', 'down', 0)):
            proxy.plan(mode, at, direction)
            before = service.metric('delivery_failures_total')
            if not service.jobs():
                service.send(ct.folder, ct.report, tool='storescu')
            harness.until('a try that fails: %s %s' % (mode, direction),
                          lambda before=before: service.metric('delivery_failures_total') > before)
        proxy.plan('pass')
        job = service.wait_job('succeeded')
        self.assertEqual(len(receiver.files()), 1)
        self.assertEqual(harness.dataset_bytes(receiver.files()[0]), harness.dataset_bytes(service.result(job)))


if __name__ == '__main__':
    harness.main()
