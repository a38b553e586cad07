"""dicom_send_file() and dicom_send_echo() against stock receivers, and against ones that misbehave."""
import contextlib
import os
import socket
import struct
import subprocess
import time
import unittest

from net_world import (BIN, CT, EXPLICIT, IMPLICIT, SEG, Case, Receiver, Sender, body_of, dataset, element, part10, read,
                       tool)

DELIVERED, RETRY, REFUSED = 0, 1, 2


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Send(Case):
    def setUp(self):
        super().setUp()
        self.body = dataset(sop_class=SEG, uid="1.2.77", pixels=os.urandom(300000))
        self.file = self.write("seg.dcm", part10(self.body, SEG, "1.2.77"))

    def send(self, port, *file, host="127.0.0.1", ae="PACS", timeout=5):
        """(outcome, DIMSE status, sentence)"""
        rc, said = tool(os.path.join(BIN, "mini_scu"), host, port, ae, timeout, *file)
        self.assertEqual(rc, 0, said)
        head, sentence = said.strip().split("|", 1)
        word, *numbers = head.split()
        if word == "error":
            return "error", numbers[0], sentence
        return int(numbers[0]), int(numbers[1]), sentence

    @contextlib.contextmanager
    def storescp(self, *args):
        port, out = free_port(), self.path(f"out{len(os.listdir(self.folder.name))}")
        os.mkdir(out)
        with subprocess.Popen(["storescp", "-od", out, *args, str(port)], stderr=subprocess.DEVNULL) as p:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.02)
            try:
                yield port, out
            finally:
                p.kill()

    def received(self, out):
        name, = os.listdir(out)
        return read(os.path.join(out, name))

    def test_bytes_go_out_as_they_stand(self):
        """Also what DCMTK would write differently: undefined lengths, a group length, trailing padding."""
        odd = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xffffffff) + struct.pack("<HHI", 0xfffe, 0xe0dd, 0)
        body = (element(8, 0, "UL", struct.pack("<I", 9)) + self.body[:40] + odd + self.body[40:] +
                element(0xfffc, 0xfffc, "OB", bytes(64)))
        file = self.write("odd.dcm", part10(body, SEG, "1.2.77"))
        with self.storescp("+B") as (port, out):
            outcome, status, sentence = self.send(port, file)
            self.assertEqual((outcome, status), (DELIVERED, 0), sentence)
            self.assertEqual(sentence, f"127.0.0.1:{port} stored the object")
            self.assertEqual(body_of(self.received(out)), body)

    def test_implicit_only_peer(self):
        with self.storescp("+xi") as (port, out):
            self.assertEqual(self.send(port, self.file)[:2], (DELIVERED, 0))
            blob = self.received(out)
            self.assertIn(IMPLICIT.encode() + b"\0", blob[:400])
            self.assertIn(self.body[-300000:], blob, "the pixels")

    def test_own_receiver(self):
        r = self.receiver()
        file = self.write("ct.dcm", part10(dataset()))
        self.assertEqual(self.send(r.port, file, ae="MSAD")[:2], (DELIVERED, 0))
        r.wait_for("^closed released stored=1")
        self.assertEqual([body_of(b) for b in r.blobs().values()], [dataset()])

    def test_echo(self):
        with self.storescp() as (port, _):
            self.assertEqual(self.send(port)[:2], (DELIVERED, 0))

    def test_called_ae_refused(self):
        r = self.receiver()
        outcome, status, sentence = self.send(r.port, self.file, ae="WRONG")
        self.assertEqual((outcome, status), (REFUSED, -1))
        self.assertEqual(sentence, f"127.0.0.1:{r.port} refused the association: called AE title not recognized "
                                   "(permanent)")

    def test_busy_peer(self):
        r = self.receiver("--busy")
        outcome, _, sentence = self.send(r.port, self.file, ae="MSAD")
        self.assertEqual(outcome, RETRY)
        self.assertIn("local limit exceeded (transient)", sentence)

    def test_storescp_refuses(self):
        with self.storescp("--refuse") as (port, _):
            self.assertEqual(self.send(port, self.file)[0], REFUSED)

    def test_abort_after_store(self):
        for option in ("--abort-after", "--abort-during"):
            with self.subTest(option), self.storescp(option) as (port, _):
                outcome, _, sentence = self.send(port, self.file)
                self.assertEqual(outcome, RETRY, sentence)

    def test_class_not_accepted(self):
        r = self.receiver()
        file = self.write("us.dcm", part10(dataset(sop_class="1.2.840.10008.5.1.4.1.1.6.1"),
                                           "1.2.840.10008.5.1.4.1.1.6.1"))
        outcome, _, sentence = self.send(r.port, file, ae="MSAD")
        self.assertEqual(outcome, REFUSED)
        self.assertIn("does not accept UltrasoundImageStorage", sentence)

    def test_peer_out_of_resources(self):
        r = self.receiver("--commit", "fail")
        outcome, status, sentence = self.send(r.port, self.write("ct.dcm", part10(dataset())), ae="MSAD")
        self.assertEqual((outcome, status), (RETRY, 0xa700))
        self.assertIn("status A700: out of resources", sentence)
        self.assertNotIn("the test said so", sentence, "a peer's comment may name the patient")

    def test_peer_cannot_understand(self):
        r = self.receiver("--commit", "parse")
        outcome, status, _ = self.send(r.port, self.write("ct.dcm", part10(dataset())), ae="MSAD")
        self.assertEqual((outcome, status), (REFUSED, 0xc000))

    def test_nothing_listens(self):
        outcome, _, sentence = self.send(free_port(), self.file)
        self.assertEqual(outcome, RETRY)
        self.assertIn("cannot be reached: Connection refused", sentence)

    def test_unknown_host(self):
        outcome, _, sentence = self.send(104, self.file, host="no-such-host.invalid")
        self.assertEqual(outcome, RETRY)
        self.assertIn("is not known by that name", sentence)

    def quick(self, port, timeout=1):
        start = time.monotonic()
        outcome, _, sentence = self.send(port, self.file, timeout=timeout)
        self.assertEqual(outcome, RETRY, sentence)
        self.assertLess(time.monotonic() - start, 8)
        return sentence

    def test_peer_says_nothing(self):
        self.assertIn("did not answer the association request", self.quick(self.play_peer(lambda p: time.sleep(10))))

    def test_peer_talks_http(self):
        port = self.play_peer(lambda p: (p.recv(10), p.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
        self.assertIn("did not answer the association request", self.quick(port))

    def test_peer_never_answers_the_store(self):
        def play(p):
            s = Sender.__new__(Sender)
            s.sock = p
            _, rq = s.pdu()
            ac = rq[:68] + s.item(0x10, b"1.2.840.10008.3.1.1.1")
            ac += s.item(0x21, b"\1\0\0\0" + s.item(0x40, EXPLICIT.encode()))
            ac += s.item(0x50, s.item(0x51, struct.pack(">I", 16384)) + s.item(0x52, b"1.2.3"))
            p.sendall(struct.pack(">BBI", 2, 0, len(ac)) + ac)
            while p.recv(65536):
                pass

        self.assertIn("did not answer the C-STORE: the peer was silent", self.quick(self.play_peer(play)))

    def test_bad_files(self):
        with self.storescp() as (port, _):
            self.assertEqual(self.send(port, self.path("none.dcm"))[:2], ("error", "not_found"))
            self.assertEqual(self.send(port, self.write("no.dcm", b"x" * 500))[:2], ("error", "parse"))
            self.assertEqual(self.send(port, self.write("cut.dcm", part10(b"")))[:2], ("error", "parse"))


if __name__ == "__main__":
    unittest.main(verbosity=0)
