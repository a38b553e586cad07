"""What the network tests share: tiny DICOM files, a bare DICOM sender that may break every rule, and mini_scp."""
import contextlib
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

CT, MR, US = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.6.1"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT, MPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.100"
BIN = os.environ.get("MSAD_TEST_BIN", ".")


def element(group, number, vr, value):
    """Explicit VR little endian, padded."""
    if isinstance(value, str):
        value = value.encode()
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB") else b" "
    head = struct.pack("<HH2s", group, number, vr.encode())
    if vr in ("OB", "OW", "SQ", "UN"):
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def dataset(sop_class=CT, uid="1.2.3.4", pixels=b"\1\2" * 512):
    return (element(8, 0x16, "UI", sop_class) + element(8, 0x18, "UI", uid) + element(8, 0x60, "CS", "CT") +
            element(0x10, 0x10, "PN", "Test^Canary") + element(0x10, 0x20, "LO", "0") +
            element(0x20, 0x0d, "UI", "1.2.3") + element(0x20, 0x0e, "UI", "1.2.3.1") +
            element(0x28, 2, "US", struct.pack("<H", 1)) + element(0x28, 4, "CS", "MONOCHROME2") +
            element(0x28, 0x10, "US", struct.pack("<H", 16)) +
            element(0x28, 0x11, "US", struct.pack("<H", min(len(pixels) // 32, 65535))) +
            element(0x28, 0x100, "US", struct.pack("<H", 16)) + element(0x28, 0x101, "US", struct.pack("<H", 16)) +
            element(0x28, 0x102, "US", struct.pack("<H", 15)) + element(0x28, 0x103, "US", struct.pack("<H", 0)) +
            element(0x7fe0, 0x10, "OW", pixels))


def part10(body, sop_class=CT, uid="1.2.3.4", syntax=EXPLICIT):
    meta = (element(2, 1, "OB", b"\0\1") + element(2, 2, "UI", sop_class) + element(2, 3, "UI", uid) +
            element(2, 0x10, "UI", syntax) + element(2, 0x12, "UI", "1.2.3.99"))
    return bytes(128) + b"DICM" + element(2, 0, "UL", struct.pack("<I", len(meta))) + meta + body


def body_of(blob):
    """The dataset of a Part 10 file's bytes."""
    assert blob[:132] == bytes(128) + b"DICM", "preamble"
    return blob[144 + struct.unpack_from("<I", blob, 140)[0]:]


class Sender:
    """A DICOM upper layer without scruples."""

    def __init__(self, port, timeout=20):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    @staticmethod
    def item(kind, body):
        return struct.pack(">BBH", kind, 0, len(body)) + body

    def associate_rq(self, contexts, called="MSAD", extra_user=b""):
        user = self.item(0x51, struct.pack(">I", 16384)) + self.item(0x52, b"1.2.3.99") + extra_user
        items = self.item(0x10, b"1.2.840.10008.3.1.1.1")
        for number, (abstract, syntaxes) in enumerate(contexts):
            body = struct.pack(">BBBB", (2 * number + 1) & 255, 0, 0, 0) + self.item(0x30, abstract.encode())
            body += b"".join(self.item(0x40, s.encode()) for s in syntaxes)
            items += self.item(0x20, body)
        items += self.item(0x50, user)
        body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), b"HOSTILE".ljust(16)) + items
        return struct.pack(">BBI", 1, 0, len(body)) + body

    def send(self, data):
        self.sock.sendall(data)

    def pdu(self):
        """(type, body), or (0, b'') when the connection is at its end."""
        head = self.read(6)
        if len(head) < 6:
            return 0, b""
        return head[0], self.read(struct.unpack(">I", head[2:])[0])

    def read(self, n):
        data = b""
        while len(data) < n:
            try:
                more = self.sock.recv(n - len(data))
            except ConnectionResetError:
                break
            if not more:
                break
            data += more
        return data

    def open(self, contexts, **kw):
        self.send(self.associate_rq(contexts, **kw))
        return self.pdu()

    @staticmethod
    def results(ac):
        """Context id -> (result, transfer syntax) of an A-ASSOCIATE-AC."""
        found, at = {}, 68
        while at + 4 <= len(ac):
            kind, size = ac[at], struct.unpack_from(">H", ac, at + 2)[0]
            if kind == 0x21:
                sub = ac[at + 8:at + 4 + size]
                found[ac[at + 4]] = (ac[at + 6], sub[4:].rstrip(b"\0").decode())
            at += 4 + size
        return found

    def pdv(self, data, context=1, command=False, last=True):
        body = struct.pack(">IBB", len(data) + 2, context, int(command) | int(last) << 1) + data
        self.send(struct.pack(">BBI", 4, 0, len(body)) + body)

    def store_rq(self, sop_class=CT, uid="1.2.3.4", context=1, has_dataset=True):
        def el(number, value):
            return struct.pack("<HHI", 0, number, len(value)) + value

        def ui(text):
            raw = text.encode()
            return raw + b"\0" * (len(raw) % 2)

        body = (el(2, ui(sop_class)) + el(0x100, b"\1\0") + el(0x110, b"\7\0") + el(0x700, b"\0\0") +
                el(0x800, b"\1\0" if has_dataset else b"\1\1") + el(0x1000, ui(uid)))
        self.pdv(el(0, struct.pack("<I", len(body))) + body, context, command=True)

    def response(self):
        """(status, error comment) of the next DIMSE response; (None, kind of PDU) when something else comes."""
        kind, body = self.pdu()
        if kind != 4:
            return None, kind
        at, status, comment = 6, None, ""
        while at + 8 <= len(body):
            group, number, size = struct.unpack_from("<HHI", body, at)
            value = body[at + 8:at + 8 + size]
            if number == 0x900:
                status = struct.unpack("<H", value)[0]
            if number == 0x902:
                comment = value.decode().strip()
            at += 8 + size
        return status, comment

    def store(self, data, uid="1.2.3.4", sop_class=CT, context=1, piece=16000):
        self.store_rq(sop_class, uid, context)
        for at in range(0, len(data), piece):
            self.pdv(data[at:at + piece], context, last=at + piece >= len(data))
        return self.response()

    def release(self):
        self.send(struct.pack(">BBII", 5, 0, 4, 0))
        return self.pdu()[0]


class Receiver:
    """mini_scp on a folder of its own."""

    def __init__(self, root, *args):
        self.root, self.lines, self.news = root, [], threading.Condition()
        self.process = subprocess.Popen([os.path.join(BIN, "mini_scp"), root, *args], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()

    def listen(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.reader.join(10)
        self.process.stdout.close()

    def wait_for(self, pattern, n=1, timeout=20):
        """The first n lines that match; a test fails without them."""
        deadline = time.monotonic() + timeout
        with self.news:
            while True:
                found = [line for line in self.lines if re.search(pattern, line)]
                if len(found) >= n:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or not self.news.wait(left):
                    raise AssertionError(f"no line like {pattern!r} in {self.lines!r}")

    def seen(self, pattern):
        with self.news:
            return [line for line in self.lines if re.search(pattern, line)]

    def blobs(self):
        top = os.path.join(self.root, "blobs")
        return {name: read(os.path.join(top, shard, name))
                for shard in os.listdir(top) for name in os.listdir(os.path.join(top, shard))}

    def parts(self):
        return os.listdir(os.path.join(self.root, "incoming"))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def tool(*args, timeout=30):
    """A foreign tool: (exit status, all that it said)."""
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                          text=True, errors="replace")
    return done.returncode, done.stdout


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="msad-net-")
        self.addCleanup(self.folder.cleanup)

    def path(self, *names):
        return os.path.join(self.folder.name, *names)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def receiver(self, *args, root="store"):
        r = Receiver(self.path(root), *args)
        self.addCleanup(r.__exit__)
        return r

    def play_peer(self, play):
        """A peer by hand, for one connection; returns its port."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def run():
            with contextlib.suppress(OSError):
                peer, _ = listener.accept()
                with peer:
                    play(peer)

        threading.Thread(target=run, daemon=True).start()
        return listener.getsockname()[1]

    def assert_nothing_kept(self, r):
        self.assertEqual(r.blobs(), {})
        self.assertEqual(r.parts(), [])
        self.assertEqual(r.seen("^commit"), [])
