#!/usr/bin/python3
"""Associations: who is let in, what is refused and where the reason is shown, and peers that do not behave."""
import os
import random

import dul
import harness

ULTRASOUND = '1.2.840.10008.5.1.4.1.1.6.1'


class Negotiation(harness.Case):
    def refusals(self, service, *names):
        """The refusals that mention one of the names, once there are any; each has a sentence as its reason."""
        def probe():
            shown = service.json('/v1/associations')['refusals']
            return [r for r in shown if any(n in r['what'] or n in r['reason'] for n in names)]
        found = harness.until('a refusal of %s at /v1/associations' % '/'.join(names), probe, 20)
        for refusal in found:
            self.assertGreater(len(refusal['reason']), 15)
            self.assertIn(' ', refusal['reason'])
        return found

    def test_echo(self):
        service = self.msad()
        service.echo()
        shown = harness.until('the association at REST', lambda: [
            a for a in service.json('/v1/associations')['associations'] if a['ended'] == 'released'])
        self.assertEqual((shown[0]['calling_ae'], shown[0]['called_ae']), ('TESTPACS', 'MSAD'))

    def test_wrong_called_ae(self):
        service = self.msad()
        said = service.echo(aec='SOMEONE', wanted=None)
        self.assertNotEqual(said.returncode, 0)
        self.assertIn('Called AE Title Not Recognized', said.stdout)
        refusal = self.refusals(service, 'SOMEONE')[0]
        self.assertEqual(refusal['calling_ae'], 'TESTPACS')
        service.echo()

    def test_any_called_ae_when_configured(self):
        service = self.msad(dicom_accept_any_called_ae='true')
        service.echo(aec='SOMEONE')

    def test_unknown_sop_class(self):
        service = self.msad()
        with dul.Peer(service.dicom_port) as peer:
            peer.associate([(ULTRASOUND, [dul.EXPLICIT_LE]), (dul.VERIFICATION, [dul.IMPLICIT_LE])])
            self.assertEqual(peer.results, {1: 3, 3: 0}, '3: abstract syntax not supported')
            self.assertEqual(peer.echo(3), 0)
            peer.release()
        self.refusals(service, 'UltrasoundImageStorage', ULTRASOUND)

    def test_a_syntax_without_decoder_is_refused(self):
        service = self.msad()
        with dul.Peer(service.dicom_port) as peer:
            peer.associate([(dul.CT_IMAGE, [dul.MPEG_2]), (dul.CT_IMAGE, [dul.MPEG_2, dul.EXPLICIT_LE])])
            self.assertEqual(peer.results, {1: 4, 3: 0}, '4: transfer syntaxes not supported')
            self.assertEqual(peer.accepted, {3: dul.EXPLICIT_LE})
            peer.release()
        self.refusals(service, 'MPEG2', 'MPEG', dul.MPEG_2)

    def test_jpeg_2000_is_taken(self):
        service = self.msad()
        with dul.Peer(service.dicom_port) as peer:
            peer.associate([(dul.CT_IMAGE, [dul.JPEG_2000]), (dul.CT_IMAGE, [dul.HTJ2K]),
                            (dul.CT_IMAGE, [dul.JPEG_2000, dul.EXPLICIT_LE])])
            self.assertEqual(peer.results, {1: 0, 3: 0, 5: 0})
            self.assertEqual(peer.accepted, {1: dul.JPEG_2000, 3: dul.HTJ2K, 5: dul.EXPLICIT_LE})
            peer.release()

    def test_same_refusal_again_only_counts(self):
        service = self.msad()
        for _ in range(3):
            service.echo(aec='SOMEONE', wanted=None)
        harness.until('the count', lambda: [r['count'] for r in self.refusals(service, 'SOMEONE')] == [3], 20)

    def stalled(self, service):
        """Three peers that keep a connection and go no further: silent, idle in an association, halfway in an object."""
        silent, idle, halfway = [self.enterContext(dul.Peer(service.dicom_port)) for _ in range(3)]
        idle.associate([(dul.VERIFICATION, [dul.IMPLICIT_LE])])
        halfway.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
        halfway.store_command(dul.CT_IMAGE, '2.25.1')
        halfway.pdv(1, bytes(1000), False, False)
        return silent, idle, halfway

    def test_stalled_peers_block_nobody(self):
        service = self.msad(dicom_associate_timeout_s=120, dicom_idle_timeout_s=600)
        peers = self.stalled(service)
        service.echo()
        for peer in peers:  # they were there all the time
            peer.socket.settimeout(0.2)
            self.assertFalse(self.closed(peer), 'a peer was let go before its time')

    def test_stalled_peers_are_let_go(self):
        service = self.msad(dicom_associate_timeout_s=2, dicom_idle_timeout_s=2)
        peers = self.stalled(service)
        harness.until('the stalled peers to be let go', lambda: not service.roles('receive'), 30)
        for peer in peers:
            peer.socket.settimeout(10)
            self.assertTrue(self.closed(peer), 'the connection of a stalled peer is still open')
        self.assertEqual(self.incoming(service), [], 'a part of the unfinished object was kept')
        shown = harness.until('the silent one at REST',
                              lambda: [r for r in service.json('/v1/associations')['refusals'] if r['what'] == 'connection'])
        self.assertIn('said nothing', shown[0]['reason'])

    def test_silence_costs_no_process(self):
        """Only the head of an association request is worth a role: 600 silent peers, then an honest echo."""
        service = self.msad(dicom_associate_timeout_s=120)
        peers = [self.enterContext(dul.Peer(service.dicom_port)) for _ in range(600)]
        for peer in peers[::2]:
            peer.raw(b'\x01\x00\x00')  # not even a head
        service.echo()
        harness.until('the echo to end', lambda: not service.roles('receive'), 30)
        self.assertEqual(service.roles('receive'), [])
        peers[0].socket.settimeout(10)
        self.assertTrue(self.closed(peers[0]), 'the oldest gives way when too many wait')
        peers[-1].socket.settimeout(0.2)
        self.assertFalse(self.closed(peers[-1]))

    @staticmethod
    def closed(peer):
        try:
            while peer.socket.recv(4096):
                pass  # an A-ABORT or so
            return True
        except ConnectionError:
            return True
        except OSError:
            return False

    def incoming(self, service):
        return os.listdir(os.path.join(service.storage, 'incoming'))

    def test_garbage_on_the_dicom_port(self):
        service = self.msad(dicom_associate_timeout_s=2, dicom_idle_timeout_s=2)
        seed = 20260101
        generator = random.Random(seed)
        texts = [b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\x16\x03\x01\x02\x00\x01' + bytes(600), b'\x01\x00' + b'\xff' * 4]
        texts += [generator.randbytes(generator.randrange(1, 3000)) for _ in range(20)]
        for kind in range(1, 8):  # every PDU type with a random body, and with a length that lies
            body = generator.randbytes(200)
            texts.append(bytes([kind, 0]) + len(body).to_bytes(4, 'big') + body)
            texts.append(bytes([kind, 0]) + (2 ** 31).to_bytes(4, 'big') + body)
        for text in texts:
            with dul.Peer(service.dicom_port) as peer:
                try:
                    peer.raw(text)
                except ConnectionError:
                    pass  # it was closed on us already
        harness.until('the receive roles to end', lambda: not service.roles('receive'), 30)
        service.echo()
        self.assertTrue(service.is_ready(), 'seed %d' % seed)

    def test_connection_lost_in_the_middle_of_an_object(self):
        """Invariant 2: nothing is kept of half an object."""
        service = self.msad()
        with dul.Peer(service.dicom_port) as peer:
            peer.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
            peer.store_command(dul.CT_IMAGE, '2.25.2')
            peer.pdv(1, bytes(10000), False, False)
        harness.until('the receive role to end', lambda: not service.roles('receive'), 30)
        self.assertEqual(self.incoming(service), [])
        shown = harness.until('the association at REST', lambda: service.json('/v1/associations')['associations'])
        self.assertEqual(shown[0]['instances'], 0)
        self.assertNotEqual(shown[0]['ended'], 'released')

    def test_more_associations_than_allowed(self):
        service = self.msad(dicom_max_associations=2)
        context = [(dul.VERIFICATION, [dul.IMPLICIT_LE])]
        with dul.Peer(service.dicom_port) as first, dul.Peer(service.dicom_port) as second:
            first.associate(context)
            second.associate(context)
            with dul.Peer(service.dicom_port) as third, self.assertRaises(dul.Refused) as refused:
                third.associate(context)
            self.assertEqual(refused.exception.kind, 3, 'A-ASSOCIATE-RJ')
            self.assertEqual(refused.exception.body[1], 2, 'rejected for now: the sender may try again')
            first.release()
            second.release()

        def room():  # "transient" asks the sender to try again: so do we, until core has seen that the two are gone
            with dul.Peer(service.dicom_port) as again:
                try:
                    again.associate(context)
                    return again.echo() == 0
                except dul.Refused as no:
                    self.assertEqual(no.body[1], 2, 'rejected for now')
                    return False

        harness.until('room again', room, 30)

    def test_many_senders_at_once(self):
        service = self.msad(dicom_max_associations=8)
        peers = [dul.Peer(service.dicom_port) for _ in range(8)]
        try:
            for peer in peers:
                peer.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
            for number, peer in enumerate(peers):
                self.assertEqual(peer.store(dul.CT_IMAGE, '2.25.%d' % (100 + number), bytes(20000)), 0)
            for peer in peers:
                peer.release()
        finally:
            for peer in peers:
                peer.socket.close()
        shown = harness.until('all to end', lambda: [a for a in service.json('/v1/associations')['associations']
                                                     if a['ended'] == 'released'])
        harness.until('all to end', lambda: sum(a['instances'] for a in service.json('/v1/associations')['associations']) == 8)
        self.assertGreater(len(shown), 0)


if __name__ == '__main__':
    harness.main()
