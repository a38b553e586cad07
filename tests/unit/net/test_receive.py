"""dicom_receive_run() over real sockets: stock DCMTK senders, and senders that break the rules."""
import glob
import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest

from net_world import (CT, EXPLICIT, IMPLICIT, MPEG, MR, US, VERIFICATION, Case, Sender, body_of, dataset, element,
                       part10, tool)

CONTEXTS = [(CT, [EXPLICIT])]


class StockSenders(Case):
    def test_echo(self):
        r = self.receiver()
        self.assertEqual(tool("echoscu", "-aec", "MSAD", "127.0.0.1", r.port)[0], 0)
        self.assertIn("released stored=0 failed=0 echoed=1 ok", r.wait_for("^closed")[0])

    def test_store_keeps_every_byte(self):
        r = self.receiver()
        source = dataset(pixels=os.urandom(200000))
        file = self.write("a.dcm", part10(source))
        rc, said = tool("dcmsend", "-v", "-aec", "MSAD", "127.0.0.1", r.port, file)
        self.assertEqual(rc, 0, said)
        r.wait_for("^closed released stored=1 failed=0")
        (name, blob), = r.blobs().items()
        self.assertEqual(name, hashlib.sha256(blob).hexdigest())
        self.assertEqual(body_of(blob), source)
        self.assertNotIn(b"DCMSEND", blob[:400], "no sender's AE title in the file meta information")
        self.assertEqual(r.parts(), [])
        self.assertEqual(tool("dcmftest", glob.glob(self.path("store/blobs/??/*"))[0])[0], 0)

    def test_same_object_twice_is_one_blob(self):
        r = self.receiver()
        file = self.write("a.dcm", part10(dataset()))
        for _ in range(2):
            self.assertEqual(tool("storescu", "-aec", "MSAD", "127.0.0.1", r.port, file)[0], 0)
        a, b = r.wait_for("^commit", 2)
        self.assertEqual(a.split()[2], b.split()[2])
        self.assertEqual(len(r.blobs()), 1)

    def test_wrong_called_ae(self):
        r = self.receiver()
        rc, said = tool("echoscu", "-aec", "ELSE", "127.0.0.1", r.port)
        self.assertNotEqual(rc, 0)
        self.assertIn("Called AE Title Not Recognized", said)
        self.assertIn('"ELSE"; this service is "MSAD"', r.wait_for("^refused ECHOSCU.association")[0])
        self.assertIn("rejected", r.wait_for("^closed")[0])

    def test_any_called_ae(self):
        r = self.receiver("--any-called")
        self.assertEqual(tool("echoscu", "-aec", "ELSE", "127.0.0.1", r.port)[0], 0)

    def test_busy_is_transient(self):
        r = self.receiver("--busy")
        rc, said = tool("echoscu", "-aec", "MSAD", "127.0.0.1", r.port)
        self.assertNotEqual(rc, 0)
        self.assertIn("Rejected Transient", said)
        self.assertIn("Local Limit Exceeded", said)

    def test_unknown_class_is_refused_with_a_reason(self):
        r = self.receiver()
        file = self.write("us.dcm", part10(dataset(sop_class=US), sop_class=US))
        _, said = tool("dcmsend", "-aec", "MSAD", "127.0.0.1", r.port, file)
        self.assertIn("No Acceptable Presentation Contexts", said)
        self.assertIn("msad takes CT", r.wait_for(r"^refused DCMSEND.UltrasoundImageStorage.")[0])
        self.assert_nothing_kept(r)

    def test_commit_failure_is_out_of_resources(self):
        r = self.receiver("--commit", "fail")
        file = self.write("a.dcm", part10(dataset()))
        rc, said = tool("storescu", "-v", "-aec", "MSAD", "127.0.0.1", r.port, file)
        self.assertIn("OutOfResources", said)
        r.wait_for("^closed released stored=0 failed=1")
        self.assert_nothing_kept(r)

    def test_rate(self):
        """Information only: Nagle is on in storescu, and must not cost 40 ms an object."""
        r = self.receiver()
        for i in range(60):
            self.write(f"{i}.dcm", part10(dataset(uid=f"1.2.{i}", pixels=os.urandom(131072)), uid=f"1.2.{i}"))
        start = time.monotonic()
        rc, said = tool("storescu", "+sd", "-aec", "MSAD", "127.0.0.1", r.port, self.folder.name, "+sp", "*.dcm")
        self.assertEqual(rc, 0, said)
        print(f"rate: {60 / (time.monotonic() - start):.0f} objects/s from a stock storescu", file=sys.stderr)
        self.assertEqual(len(r.wait_for("^commit", 60)), 60)


class Negotiation(Case):
    def results(self, contexts):
        r = self.receiver()
        with Sender(r.port) as s:
            kind, ac = s.open(contexts)
            self.assertEqual(kind, 2)
            self.assertEqual(s.release(), 6)
        r.wait_for("^closed released")
        return r, Sender.results(ac)

    def test_preference(self):
        big, rle, jpeg = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70"
        _, got = self.results([(CT, [IMPLICIT, EXPLICIT]), (MR, [big, IMPLICIT]), (CT, [MPEG, jpeg, rle]),
                               (CT, [rle, jpeg]), (CT, [big]), (VERIFICATION, [IMPLICIT])])
        self.assertEqual(got, {1: (0, EXPLICIT), 3: (0, IMPLICIT), 5: (0, jpeg), 7: (0, rle), 9: (0, big),
                               11: (0, IMPLICIT)})

    def test_refusals(self):
        r, got = self.results([(CT, [MPEG]), (US, [EXPLICIT]), ("1.2.3.private", [EXPLICIT]), (CT, [EXPLICIT])])
        self.assertEqual([got[i][0] for i in (1, 3, 5, 7)], [4, 3, 3, 0])
        self.assertIn("MPEG2MainProfile@MainLevel is not decoded; let the sender use Explicit VR Little Endian",
                      r.seen(r"^refused HOSTILE.CTImageStorage")[0])
        self.assertEqual(len(r.seen("^refused .*a malformed UID")), 1)

    def test_more_syntaxes_than_dcmtk_keeps(self):
        many = [f"1.2.3.{i}" for i in range(60)]
        _, got = self.results([(CT, many + [EXPLICIT]), (CT, many), (CT, [EXPLICIT])])
        self.assertEqual(got[1], (0, EXPLICIT))
        self.assertEqual(got[3][0], 4)
        self.assertEqual(got[5], (0, EXPLICIT))

    def test_many_contexts(self):
        _, got = self.results([(CT, [EXPLICIT])] * 128)
        self.assertEqual(len(got), 128)
        self.assertTrue(all(result == (0, EXPLICIT) for result in got.values()))


class Ending(Case):
    def ended(self, r, pattern, within=15):
        line = r.wait_for("^closed", timeout=within)[0]
        self.assertRegex(line, pattern)
        self.assertEqual(r.seen("^crashed"), [])


class Deadlines(Ending):
    def test_silence(self):
        r = self.receiver("--associate-s", "1")
        with Sender(r.port) as s:
            self.ended(r, "closed timeout .*no whole association request came in time", 5)
            self.assertEqual(s.pdu()[0], 7, "an A-ABORT")

    def test_half_an_associate(self):
        r = self.receiver("--associate-s", "1")
        with Sender(r.port) as s:
            s.send(s.associate_rq(CONTEXTS)[:100])
            self.ended(r, "closed timeout", 5)

    def test_drip(self):
        """A byte now and then does not extend the deadline."""
        r = self.receiver("--associate-s", "1")
        with Sender(r.port) as s:
            start = time.monotonic()
            try:
                for byte in s.associate_rq(CONTEXTS)[:60]:
                    s.send(bytes([byte]))
                    time.sleep(0.05)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.ended(r, "closed timeout", 5)
            self.assertLess(time.monotonic() - start, 5)


class Stalls(Ending):
    def test_stall_inside_an_object(self):
        r = self.receiver("--idle-s", "1")
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            s.store_rq()
            s.pdv(dataset()[:500], last=False)
            self.ended(r, "closed timeout .*silent for too long while an object", 6)
        self.assert_nothing_kept(r)

    def test_stall_inside_a_pdu(self):
        """DCMTK's own timeout does not cover the body of a PDU."""
        r = self.receiver("--idle-s", "1")
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            s.store_rq()
            s.send(struct.pack(">BBIIBB", 4, 0, 10000, 9996, 1, 0) + b"x" * 100)
            self.ended(r, "closed timeout", 6)
        self.assert_nothing_kept(r)

    def test_idle_association(self):
        r = self.receiver("--idle-s", "1")
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            self.ended(r, "closed timeout .*a command was awaited", 6)

    def test_association_maximum(self):
        """Busy all the time, and still at an end."""
        r = self.receiver("--max-s", "2")
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            s.store_rq()
            try:
                for _ in range(200):
                    s.pdv(b"z" * 1000, last=False)
                    time.sleep(0.03)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.ended(r, "closed timeout", 8)
        self.assert_nothing_kept(r)


class Hostile(Ending):
    def refuses_request(self, pdu, reason):
        r = self.receiver(root=f"store{len(os.listdir(self.folder.name))}")
        with Sender(r.port) as s:
            s.send(pdu)
            self.assertEqual(s.pdu()[0], 7, "an A-ABORT")
        self.ended(r, "closed aborted .*" + reason)

    def test_bad_requests(self):
        s = Sender.__new__(Sender)
        good = s.associate_rq(CONTEXTS)
        identity = s.item(0x58, b"\2\0" + struct.pack(">H", 400) + b"x" * 400 + struct.pack(">H", 400) + b"y" * 400)
        self.refuses_request(struct.pack(">BBI", 1, 0, 1 << 20) + bytes(1000), "1048576 bytes")
        self.refuses_request(b"GET / HTTP/1.1\r\n\r\n", "something else than an association request")
        self.refuses_request(s.associate_rq(CONTEXTS, extra_user=identity * 30), "two user identity")
        self.refuses_request(s.associate_rq([(CT, [EXPLICIT])] * 129), "more than 128|used twice")
        long_item = bytearray(good)
        long_item[-9:-8] = b"\xff"
        self.refuses_request(bytes(long_item), "longer than its container")

    def test_sender_dies_inside_an_object(self):
        r = self.receiver()
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            s.store_rq()
            s.pdv(dataset(), last=False)
        self.ended(r, "closed lost stored=0")
        self.assert_nothing_kept(r)

    def test_killed_storescu(self):
        r = self.receiver()
        file = self.write("big.dcm", part10(dataset(pixels=bytes(60_000_000))))
        p = subprocess.Popen(["storescu", "-pdu", "4096", "-aec", "MSAD", "127.0.0.1", str(r.port), file],
                             stderr=subprocess.DEVNULL)
        r.wait_for("^opened")
        deadline = time.monotonic() + 10
        while not r.parts() and time.monotonic() < deadline:
            time.sleep(0.002)
        p.send_signal(signal.SIGKILL)
        p.wait()
        line = r.wait_for("^closed")[0]
        if "stored=0" in line:
            self.assert_nothing_kept(r)
        else:
            self.skipTest("the sender was faster than the signal")

    def test_abort_inside_an_object(self):
        r = self.receiver()
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            s.store_rq()
            s.pdv(dataset(), last=False)
            s.send(struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 0, 0))
            self.ended(r, "closed aborted stored=0")
        self.assert_nothing_kept(r)

    def test_protocol_errors(self):
        """Data before a command, a command inside a dataset, another context's data, a foreign command."""
        def data_first(s):
            s.pdv(b"x" * 100)

        def command_inside(s):
            s.store_rq()
            s.pdv(b"x" * 100, last=False)
            s.store_rq(uid="1.2.5")

        def other_context(s):
            s.store_rq()
            s.pdv(dataset(), context=3)

        def release_inside(s):
            s.store_rq()
            s.pdv(b"x" * 100, last=False)
            s.send(struct.pack(">BBII", 5, 0, 4, 0))

        def unaccepted_context(s):
            s.store_rq(context=9)

        for number, play in enumerate([data_first, command_inside, other_context, release_inside, unaccepted_context]):
            with self.subTest(play.__name__):
                r = self.receiver("--idle-s", "3", root=f"s{number}")
                with Sender(r.port) as s:
                    self.assertEqual(s.open([(CT, [EXPLICIT]), (MR, [EXPLICIT])])[0], 2)
                    play(s)
                    s.sock.shutdown(socket.SHUT_WR)
                    self.ended(r, "closed (aborted|lost|timeout) stored=0")
                self.assert_nothing_kept(r)

    def test_endless_command(self):
        r = self.receiver("--idle-s", "3")
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            try:
                for _ in range(200):
                    s.pdv(b"\0" * 16000, command=True, last=False)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.ended(r, "closed aborted .*too large a message")


class Refused(Case):
    """Objects that are refused by their command; the association goes on behind them."""

    def run_one(self, expected, args=(), data=None, **kw):
        r = self.receiver(*args)
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS + [(VERIFICATION, [IMPLICIT])])[0], 2)
            status, comment = s.store(dataset() if data is None else data, **kw)
            self.assertEqual(f"{status:04x}", expected, comment)
            self.assertNotEqual(comment, "")
            self.assertLessEqual(len(comment), 64)
            self.assert_nothing_kept(r)
            if not args:
                self.assertEqual(s.store(dataset(uid="1.9"), uid="1.9")[0], 0, "the next one is taken")
                self.assertEqual(len(r.blobs()), 1)
            self.assertEqual(s.release(), 6)
        return comment

    def test_evil_uids(self):
        for uid in ("../../etc/passwd", "1.2.3\\4", "1.2.a"):
            with self.subTest(uid):
                self.run_one("c000", uid=uid)
                self.folder.cleanup()
                self.setUp()

    def test_class_mismatch(self):
        self.run_one("a900", sop_class=MR)

    def test_store_as_verification(self):
        self.run_one("a900", sop_class=VERIFICATION, context=3)

    def test_too_large(self):
        self.assertIn("larger", self.run_one("c000", args=("--max-bytes", "1000"), data=dataset(pixels=bytes(64000))))

    def test_commit_says_parse(self):
        self.run_one("c000", args=("--commit", "parse"))

    def test_no_dataset(self):
        r = self.receiver()
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            s.store_rq(has_dataset=False)
            self.assertEqual(s.pdu()[0], 7, "an A-ABORT")
        self.assert_nothing_kept(r)


class Opaque(Case):
    """Datasets are not looked into, however strange."""

    def stored(self, data):
        r = self.receiver()
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            self.assertEqual(s.store(data)[0], 0)
            self.assertEqual(s.release(), 6)
        r.wait_for("^closed released stored=1")
        blob, = r.blobs().values()
        self.assertEqual(body_of(blob), data)

    def test_nested_20000_deep(self):
        nest = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xffffffff) + struct.pack("<HHI", 0xfffe, 0xe000, 0xffffffff)
        self.stored(element(8, 0x16, "UI", CT) + nest * 20000)

    def test_noise(self):
        self.stored(os.urandom(100001) + b"x")

    def test_tiny_fragments(self):
        r = self.receiver()
        data = dataset(pixels=b"ab" * 300)
        with Sender(r.port) as s:
            self.assertEqual(s.open(CONTEXTS)[0], 2)
            self.assertEqual(s.store(data, piece=2)[0], 0)
        blob, = r.blobs().values()
        self.assertEqual(body_of(blob), data)


@unittest.skipUnless(os.geteuid() == 0, "mounting a small tmpfs needs root")
class FullDisk(Case):
    """Invariant 2, and the trap that DCMTK's own receiver falls into: Success for a truncated file."""

    def test_sweep(self):
        pixels = os.urandom(40000)
        source = dataset(pixels=pixels)
        mount = self.path("disk")
        os.mkdir(mount)
        rc, said = tool("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", mount)
        if rc != 0:
            self.skipTest("no mount here: " + said.strip())
        self.addCleanup(tool, "umount", "-l", mount)
        r = self.receiver(root="disk/store")
        with Sender(r.port) as s: # makes the folders
            self.assertEqual(s.open(CONTEXTS)[0], 2)
        r.wait_for("^closed")
        page, need = os.sysconf("SC_PAGESIZE"), -(-len(source) // os.sysconf("SC_PAGESIZE"))
        outcomes = set()
        for pages in [*range(0, 3), *range(need - 3, need + 4)]:
            ballast = os.path.join(mount, "ballast")
            free = os.statvfs(mount).f_bavail
            with open(ballast, "wb") as file:
                file.write(bytes((free - pages) * page))
            uid = f"1.2.{pages}"
            data = dataset(uid=uid, pixels=pixels)
            with Sender(r.port) as s:
                self.assertEqual(s.open(CONTEXTS)[0], 2)
                status, comment = s.store(data, uid=uid)
                self.assertIn(status, (0, 0xa700), comment)
                if status != 0:
                    self.assertIn("full", comment)
                self.assertEqual(s.release(), 6)
            outcomes.add(status)
            bodies = [body_of(b) for b in r.blobs().values()]
            self.assertEqual(bodies, [data] if status == 0 else [], f"{pages} pages free")
            self.assertEqual(r.parts(), [])
            for blob in glob.glob(os.path.join(mount, "store/blobs/??/*")):
                os.unlink(blob)
            os.unlink(ballast)
        self.assertEqual(outcomes, {0, 0xa700}, "the sweep meets both sides")


if __name__ == "__main__":
    unittest.main(verbosity=0)
