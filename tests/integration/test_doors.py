#!/usr/bin/python3
"""Who is let in, and how: TLS, the entries under senders, limits; each refusal is at /v1/associations with its remedy."""
import os
import random
import resource
import signal
import socket
import ssl
import struct
import sys
import time

import dul
import harness

sys.path.insert(0, os.path.join(harness.ROOT, 'tests', 'tools'))
from pki import Pki  # noqa: E402  # pylint: disable=wrong-import-position


class Doors(harness.Case):
    def keys(self):
        self.pki = Pki(self.path('pki'))
        self.ours, self.pacs, self.other = (self.pki.issue(n) for n in ('msad', 'pacs', 'other'))
        return {'dicom_tls_certificate': self.ours.certificate, 'dicom_tls_key': self.ours.key, 'dicom_tls_ca': self.ours.ca,
                'dicom_tls_port': harness.free_port()}

    def echo(self, port, *options, aet='PACS', aec='MSAD'):
        return harness.run_tool(['echoscu', '-to', '10', '-ta', '10', '-aet', aet, '-aec', aec, *options, 'localhost', port],
                                None).returncode == 0

    def refusal(self, service, words):
        """The one that says so, once it is listed."""
        def look():
            return [r for r in service.json('/v1/associations')['refusals'] if words in r['reason']]
        try:
            found, = harness.until('a refusal: ' + words, look, 20)
        except AssertionError:
            raise AssertionError('%s: %s' % (words, service.json('/v1/associations')['refusals'])) from None
        return found

    def test_tls_in_and_out(self):
        """The main job over TLS both ways; the plain port is off."""
        settings = self.keys()
        receiver = self.receiver('received', *self.pacs.tool())
        service = harness.Msad(self.path('msad'), dicom_plain=False, **settings, config='''destinations:
  - name: demo
    ae_title: DEMO
    host: localhost
    port: %d
    tls: true
''' % receiver.port)
        del service.environment['MSAD_DESTINATIONS']  # of the harness: it would go before the file
        self.services.append(service.start())
        self.assertFalse(harness.listening(service.dicom_port))
        ct = self.ct_with_report()
        for what in (ct.folder, ct.report):
            more = ['+sd', '+r'] if os.path.isdir(what) else []
            harness.run_tool(['storescu', '-aec', 'MSAD', *self.pacs.tool(), *more, 'localhost', settings['dicom_tls_port'], what])
        job = service.wait_job('succeeded')
        self.assertEqual(len(receiver.wait_files(1)), 1)
        self.assertEqual(harness.dataset_bytes(receiver.files()[0]), harness.dataset_bytes(service.result(job)))
        shown = service.json('/v1/associations')['associations']
        self.assertEqual({a['tls'] for a in shown}, {'TLSv1.3'})
        listed, = service.json('/v1/destinations')['destinations']
        self.assertTrue(listed['tls'])
        self.assertGreater(service.metric('tls_certificate_expires_timestamp_seconds'), time.time())

    def test_wrong_doors(self):
        settings = self.keys()
        service = self.msad(**settings)
        tls = settings['dicom_tls_port']
        self.assertTrue(self.echo(tls, *self.pacs.tool()))
        self.assertTrue(self.echo(service.dicom_port))
        self.assertFalse(self.echo(service.dicom_port, *self.pacs.tool()))
        self.refusal(service, 'the peer speaks TLS on dicom.port; let it use dicom.tls_port')
        self.assertFalse(self.echo(tls))
        self.refusal(service, 'the peer speaks DICOM without TLS on dicom.tls_port')
        self.assertFalse(self.echo(tls, *self.pki.issue('late', expired=True).tool()))
        self.refusal(service, 'certificate has expired')
        self.assertFalse(self.echo(tls, *Pki(self.path('else'), 'Other').issue('x', trusts=self.pki).tool()))
        self.refusal(service, 'unable to get local issuer certificate; see dicom.tls_ca')

    def test_senders(self):
        """AE title, address and certificate must belong together: one negative for each factor."""
        settings = self.keys()
        service = self.msad(config='''senders:
  - name: near
    ae_title: NEAR
    addresses: "127.0.0.1, ::1"
  - name: far
    ae_title: FAR
    addresses: "10.0.0.0/8"
  - name: pacs
    ae_title: PACS
    certificate: "%s"
  - name: lab
    ae_title: LAB
    certificate: "subject:CN=other"
''' % self.pacs.fingerprint().upper(), **settings)
        tls = settings['dicom_tls_port']
        self.assertTrue(self.echo(service.dicom_port, aet='NEAR'))
        self.assertTrue(self.echo(tls, *self.pacs.tool(), aet='PACS'))
        self.assertTrue(self.echo(tls, *self.other.tool(), aet='LAB'))
        negatives = (
            (('PLAIN', service.dicom_port, None), 'the calling AE title "PLAIN" is not among the senders: add an entry'),
            (('FAR', service.dicom_port, None), '"FAR" called from 127.0.0.1, which senders entry far does not allow'),
            (('PACS', service.dicom_port, None), '"PACS" called without TLS, and senders entry pacs asks for one'),
            (('PACS', tls, self.other), '"PACS" showed the certificate %s, which is not that of senders entry pacs' % self.other.fingerprint()),
            (('LAB', tls, self.pacs), 'which is not that of senders entry lab'))
        for (title, port, identity), words in negatives:
            self.assertFalse(self.echo(port, *(identity.tool() if identity else ()), aet=title), words)
            self.assertEqual(self.refusal(service, words)['calling_ae'], title)
        with dul.Peer(service.dicom_port) as peer, self.assertRaises(dul.Refused) as no:
            peer.associate([(dul.VERIFICATION, [dul.IMPLICIT_LE])], calling='STRANGER')
        self.assertEqual((no.exception.kind, no.exception.body[1:]), (3, b'\x01\x01\x03'), 'calling AE title not recognized')
        self.assertEqual({a['sender'] for a in service.json('/v1/associations')['associations']}, {'near', 'pacs', 'lab'})

    def test_addresses_that_nobody_has(self):
        """Refused without a role, whatever the AE title."""
        service = self.msad(config='senders:\n  - name: far\n    ae_title: "*"\n    addresses: "10.0.0.0/8"\n')
        with dul.Peer(service.dicom_port) as peer, self.assertRaises(dul.Refused) as no:
            peer.associate([(dul.VERIFICATION, [dul.IMPLICIT_LE])])
        self.assertEqual((no.exception.kind, no.exception.body[1:]), (3, b'\x01\x01\x03'))
        self.assertEqual(self.refusal(service, 'no entry under senders allows the peer\'s address')['peer'], '127.0.0.1')
        self.assertEqual(service.json('/v1/associations')['associations'], [])

    def test_limits_of_one_sender(self):
        service = self.msad(config='senders:\n  - name: one\n    ae_title: ONE\n    max_associations: 1\n    object_max_mib: 1\n'
                            '  - name: rest\n    ae_title: "*"\n')
        context = [(dul.CT_IMAGE, [dul.EXPLICIT_LE]), (dul.VERIFICATION, [dul.IMPLICIT_LE])]
        with dul.Peer(service.dicom_port) as first:
            first.associate(context, calling='ONE')
            with dul.Peer(service.dicom_port) as second, self.assertRaises(dul.Refused) as no:
                second.associate(context, calling='ONE')
            self.assertEqual((no.exception.kind, no.exception.body[1:]), (3, b'\x02\x03\x02'), 'local limit exceeded, transient')
            self.refusal(service, 'as many associations as its senders entry one allows at once (1)')
            with dul.Peer(service.dicom_port) as other:
                other.associate(context, calling='OTHER')
                self.assertEqual(other.echo(3), 0)
                self.assertEqual(other.store(dul.CT_IMAGE, '2.25.9', bytes(1 << 20 | 2)), 0)
                other.release()
            self.assertEqual(first.store(dul.CT_IMAGE, '2.25.1', bytes(1 << 20)), 0)
            self.assertEqual(first.store(dul.CT_IMAGE, '2.25.2', bytes(1 << 20 | 2)), 0xc000)
            first.release()

        def room():
            with dul.Peer(service.dicom_port) as again:
                try:
                    again.associate(context, calling='ONE')
                    return again.echo(3) == 0
                except dul.Refused:
                    return False
        harness.until('room again', room, 30)

    def test_limit_of_one_address(self):
        service = self.msad(dicom_max_associations_per_address=2)
        context = [(dul.VERIFICATION, [dul.IMPLICIT_LE])]
        with dul.Peer(service.dicom_port) as first, dul.Peer(service.dicom_port) as second:
            first.associate(context)
            second.associate(context)
            with dul.Peer(service.dicom_port) as third, self.assertRaises(dul.Refused) as no:
                third.associate(context)
            self.assertEqual(no.exception.body[1:], b'\x02\x03\x02')
            self.refusal(service, 'dicom.max_associations_per_address')

    def test_settings_that_will_not_do(self):
        settings = self.keys()

        def said(mode=None, **changed):
            if mode is not None:
                os.chmod(self.ours.key, mode)
            environment = {'MSAD_' + k.upper(): str(v) for k, v in {**settings, **changed}.items() if v is not None}
            done = harness.run_tool([os.path.join(harness.BUILD, 'msad'), '--check-config'], None, env=environment)
            os.chmod(self.ours.key, 0o600)
            return done.stdout if done.returncode else ''
        self.assertEqual(said(), '')
        self.assertIn('may be used by others than its owner (mode 0644): chmod 600 it', said(0o644))
        self.assertIn('key values mismatch', said(dicom_tls_key=self.pacs.key))
        self.assertIn('No such file', said(dicom_tls_ca='/nowhere/ca.pem'))
        self.assertIn('TLS needs a file of certificates that vouch for the peers', said(dicom_tls_ca=None))
        self.assertIn('TLS needs both a certificate and its key', said(dicom_tls_key=None))
        self.assertIn('dicom.tls_certificate is not', said(dicom_tls_certificate=None))
        self.assertIn('nobody could send anything',
                      said(dicom_plain='false', dicom_tls_certificate=None, dicom_tls_key=None))
        self.assertIn('as is dicom.port; they must differ', said(dicom_tls_port=11112))
        self.assertEqual(said(dicom_tls_port=11112, dicom_plain='false'), '', 'a port that nobody else listens on')
        self.assertIn('is not a list of addresses', said(senders='a=A@10.0.0.0/99'))
        self.assertIn('not of the form', said(senders='a=A'))

    def test_slow_peers_by_the_thousand(self):
        """F26, T8: half-open and slow connections, hostile beginnings, and an honest C-ECHO meanwhile."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        service = self.msad(dicom_associate_timeout_s=60)
        rng, peers, slowest = random.Random(7), [], 0.0
        request = struct.pack('>BBI', 1, 0, 400)
        beginnings = [b'', b'', request[:3], request, request + bytes(200), b'\x16\x03\x01\x02\x00\x01', rng.randbytes(300),
                      struct.pack('>BBI', 4, 0, 1 << 31), struct.pack('>BBI', 1, 0, 0xffffffff)]
        resident = self.resident_kib(service)
        try:
            for number in range(1100):
                peers.append(socket.create_connection(('127.0.0.1', service.dicom_port)))
                try:
                    peers[-1].sendall(beginnings[number % len(beginnings)])
                except OSError:
                    pass  # turned away already
                if number % 100 == 99:
                    began = time.monotonic()
                    with dul.Peer(service.dicom_port) as honest:
                        honest.associate([(dul.VERIFICATION, [dul.IMPLICIT_LE])])
                        self.assertEqual(honest.echo(), 0)
                        honest.release()
                    slowest = max(slowest, time.monotonic() - began)
            self.assertTrue(self.echo(service.dicom_port), 'a stock tool as well')
            print('    %d slow and hostile peers: slowest honest C-ECHO %.0f ms, core grew by %d KiB' %
                  (len(peers), 1e3 * slowest, self.resident_kib(service) - resident))
            harness.until('the roles of those who had asked to end', lambda: not service.roles('receive'), 30)
        finally:
            for peer in peers:
                peer.close()
        self.refusal(service, 'too many connections wait to say something')
        self.refusal(service, 'the peer speaks TLS on dicom.port')
        self.refusal(service, 'larger than 64 KiB')

    @staticmethod
    def resident_kib(service):
        with open('/proc/%d/status' % service.process.pid, encoding='ascii') as status:
            return next(int(line.split()[1]) for line in status if line.startswith('VmRSS'))

    def test_reload(self):
        """SIGHUP: senders and certificates change while the service runs, or nothing does."""
        settings = self.keys()
        text = 'senders:\n  - name: one\n    ae_title: %s\n'
        service = self.msad(config=text % 'ONE', **settings)
        tls, renewed = settings['dicom_tls_port'], self.pki.issue('renewed', days=300)
        self.assertTrue(self.echo(tls, *self.pacs.tool(), aet='ONE'))
        first = harness.until('the end of the certificate', lambda: service.metric('tls_certificate_expires_timestamp_seconds'))
        for ours, new in ((self.ours.key, renewed.key), (self.ours.certificate, renewed.certificate)):
            os.replace(new, ours)
        service.configure(text % 'TWO')
        service.process.send_signal(signal.SIGHUP)
        harness.until('the reload', lambda: self.echo(tls, *self.pacs.tool(), aet='TWO'))
        self.assertFalse(self.echo(tls, *self.pacs.tool(), aet='ONE'))
        harness.until('the end of the renewed one', lambda: service.metric('tls_certificate_expires_timestamp_seconds') > first + 86400)
        os.chmod(self.ours.key, 0o644)
        service.configure(text % 'THREE')
        service.process.send_signal(signal.SIGHUP)
        harness.until('its refusal', lambda: 'chmod 600 it' in service.log())
        os.chmod(self.ours.key, 0o600)
        self.assertTrue(self.echo(tls, *self.pacs.tool(), aet='TWO'), 'all stays as it was')

    def test_stalls_in_the_handshake_block_nobody(self):
        """F25. A real ClientHello and then silence: it costs a role until dicom.associate_timeout_s, and nobody waits."""
        settings = self.keys()
        service = self.msad(dicom_associate_timeout_s=3, **settings)
        port, stalled = settings['dicom_tls_port'], []
        try:
            for _ in range(8):
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                context = ssl.create_default_context(cafile=self.pacs.ca)
                try:
                    context.wrap_bio(incoming, outgoing, server_hostname='localhost').do_handshake()
                except ssl.SSLWantReadError:
                    pass
                stalled.append(socket.create_connection(('127.0.0.1', port)))
                stalled[-1].sendall(outgoing.read())
            self.assertTrue(self.echo(port, *self.pacs.tool()))
            self.assertTrue(self.echo(service.dicom_port))
            self.refusal(service, 'the peer was silent for too long during the TLS handshake')
            harness.until('the roles to end', lambda: not service.roles('receive'), 30)
        finally:
            for peer in stalled:
                peer.close()


if __name__ == '__main__':
    harness.main()
