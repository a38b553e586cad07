"""DICOM over TLS, both ways, with stock tools: what is accepted, what is not and in which words; the deadlines hold."""
import os
import socket
import subprocess
import ssl
import sys
import tempfile
import time
import unittest

from net_world import BIN, CT, SEG, IMPLICIT, Case, Sender, body_of, dataset, part10, read, tool

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools"))
from pki import Pki  # noqa: E402  # pylint: disable=wrong-import-position


class Tls(Case):
    @classmethod
    def setUpClass(cls):
        cls.keys = tempfile.TemporaryDirectory(prefix="msad-pki-")
        cls.addClassCleanup(cls.keys.cleanup)
        cls.pki = Pki(os.path.join(cls.keys.name, "ca"))
        cls.other = Pki(os.path.join(cls.keys.name, "other"), "Another CA")
        cls.ours, cls.theirs = cls.pki.issue("msad"), cls.pki.issue("modality")
        cls.expired = cls.pki.issue("expired", expired=True)
        cls.stranger = cls.other.issue("stranger", trusts=cls.pki)

    def echo(self, port, *options, aet="TEST"):
        return tool("echoscu", "-aet", aet, "-aec", "MSAD", "-to", "5", "-ta", "5", *options, "localhost", port)

    def s_client(self, port, *options, identity=None):
        who = ["-key", identity.key, "-cert", identity.certificate] if identity else []
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *who, *options], text=True, errors="replace",
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        return done.stdout


class In(Tls):
    def setUp(self):
        super().setUp()
        self.r = self.receiver("--tls", self.ours.folder)

    def test_stock_senders(self):
        status, said = self.echo(self.r.port, *self.theirs.tool())
        self.assertEqual(status, 0, said)
        secured, = self.r.wait_for("^secured")
        self.assertEqual(secured.split()[1:], ["TLSv1.3", self.theirs.fingerprint(), "CN=modality"])
        body = dataset(pixels=os.urandom(3000000))
        file = self.write("ct.dcm", part10(body))
        status, said = tool("storescu", "-aec", "MSAD", *self.theirs.tool(), "localhost", self.r.port, file)
        self.assertEqual(status, 0, said)
        self.r.wait_for("^closed released stored=1")
        self.assertEqual([body_of(b) for b in self.r.blobs().values()], [body])

    def test_subject_of_any_letters(self):
        """As people write it under senders: nothing in it may look like another name."""
        self.assertEqual(self.echo(self.r.port, *self.pki.issue("müller").tool())[0], 0)
        self.assertEqual(self.r.wait_for("^secured")[0].split()[3], "CN=müller")

    def refused(self, words, n=1):
        self.assertIn(words, self.r.wait_for(r"^refused .*\|TLS\|", n)[-1])
        self.assertEqual(self.r.seen("^opened"), [])

    def test_sender_without_a_certificate(self):
        self.assertNotEqual(self.echo(self.r.port, "+tla", "-ic")[0], 0)
        self.refused("the peer showed no certificate")

    def test_expired(self):
        self.assertNotEqual(self.echo(self.r.port, *self.expired.tool())[0], 0)
        self.refused("the peer's certificate is not accepted: certificate has expired")

    def test_of_another_authority(self):
        self.assertNotEqual(self.echo(self.r.port, *self.stranger.tool())[0], 0)
        self.refused("the peer's certificate is not accepted: unable to get local issuer certificate")

    def test_versions_and_suites(self):
        """BCP 195: 1.3, and 1.2 with AEAD; nothing else."""
        wanted = ((["-tls1_3"], "TLSv1.3"), (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "ECDHE-RSA-AES128-GCM-SHA256"),
                  (["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], "ECDHE-RSA-AES256-GCM-SHA384"),
                  (["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"], "ECDHE-RSA-CHACHA20-POLY1305"))
        for options, cipher in wanted:
            self.assertIn(cipher, self.s_client(self.r.port, *options, identity=self.theirs), options)
        count = 0
        for options in (["-tls1"], ["-tls1_1"]):
            said = self.s_client(self.r.port, *options, "-cipher", "ALL:@SECLEVEL=0", identity=self.theirs)
            self.assertIn("Cipher is (NONE)", said, options)
            count += 1
            self.refused("the peer does not speak TLS 1.2 or newer", count)
        for suite in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-SHA", "NULL-SHA256"):
            said = self.s_client(self.r.port, "-tls1_2", "-cipher", suite + ":@SECLEVEL=0", identity=self.theirs)
            self.assertIn("Cipher is (NONE)", said, suite)
            count += 1
            self.refused("the peer offers no cipher suite with forward secrecy and AEAD", count)

    def test_plain_dicom_on_this_port(self):
        self.assertNotEqual(self.echo(self.r.port)[0], 0)
        self.refused("the peer does not speak TLS")

    def test_stall_in_the_handshake(self):
        r = self.receiver("--tls", self.ours.folder, "--associate-s", "2", root="impatient")
        hello = bytes.fromhex("16030100c8010000c40303") + bytes(20)  # the beginning of a ClientHello
        for data in (b"", hello):
            with socket.create_connection(("127.0.0.1", r.port)) as peer:
                peer.sendall(data)
                self.assertEqual(self.echo(r.port, *self.theirs.tool())[0], 0, "another sender, meanwhile")
                r.wait_for("^closed timeout", 1 if data == b"" else 2)

    def test_noise_in_the_handshake(self):
        for data in (os.urandom(4000), b"\x16\x03\x01\xff\xff" + os.urandom(70000), b"GET / HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.r.port)) as peer:
                peer.sendall(data)
        self.r.wait_for(r"^refused .*\|TLS\|", 3)
        self.assertEqual(self.r.seen("^crashed"), [])
        self.assertEqual(self.echo(self.r.port, *self.theirs.tool())[0], 0)

    def test_anonymous_senders_where_they_may(self):
        r = self.receiver("--tls", self.ours.folder + "?", root="open")
        said = self.s_client(r.port, "-tls1_3")
        self.assertIn("TLSv1.3", said)
        self.assertNotEqual(self.echo(r.port, *self.expired.tool())[0], 0, "a wrong certificate is worse than none")

    def test_connection_cut_inside_an_object(self):
        """Invariant 2, under TLS as well."""
        port, sock = self.r.port, socket.create_connection(("127.0.0.1", self.r.port))
        context = ssl.create_default_context(cafile=self.theirs.ca)
        context.load_cert_chain(self.theirs.certificate, self.theirs.key)
        s = Sender.__new__(Sender)
        s.sock = context.wrap_socket(sock, server_hostname="localhost")
        self.assertEqual(s.open([(CT, [IMPLICIT])])[0], 2, port)
        s.store_rq()
        s.pdv(bytes(10000), last=False)
        s.sock.close()
        self.r.wait_for("^closed lost")
        self.assert_nothing_kept(self.r)


class Keys(Tls):
    def problem(self, key=None, certificate=None, ca=None, mode=0o600):
        """What the receiver says at its start, of files by content or name."""
        folder = self.path("identity")
        os.makedirs(folder, exist_ok=True)
        for name, source in (("key", key or self.ours.key), ("cert", certificate or self.ours.certificate), ("ca", ca or self.ours.ca)):
            with open(os.path.join(folder, name + ".pem"), "wb") as out:
                out.write(source if isinstance(source, bytes) else read(source))
        os.chmod(os.path.join(folder, "key.pem"), mode)
        return tool(os.path.join(BIN, "mini_scp"), self.path("store"), "--tls", folder)[1]

    def test_files_that_will_not_do(self):
        for mode in (0o640, 0o604, 0o666, 0o610):
            said = self.problem(mode=mode)
            self.assertIn("may be used by others than its owner (mode %04o): chmod 600 it" % mode, said)
        self.assertIn("cannot be used: key values mismatch", self.problem(key=self.theirs.key))
        self.assertIn("TLS key", self.problem(key=b"no key"))
        self.assertIn("TLS certificate", self.problem(certificate=b" "))
        self.assertIn("trusted certificates", self.problem(ca=b"nothing"))
        os.rename(self.path("identity", "ca.pem"), self.path("elsewhere"))
        said = tool(os.path.join(BIN, "mini_scp"), self.path("store"), "--tls", self.path("identity"))[1]
        self.assertIn("No such file", said)


class Out(Tls):
    def send(self, port, identity, name="", *file, timeout=5):
        rc, said = tool(os.path.join(BIN, "mini_scu"), "127.0.0.1", port, "MSAD", timeout, "--tls", identity.folder, name, *file)
        self.assertEqual(rc, 0, said)
        head, sentence = said.strip().split("|", 1)
        return head.split()[1], sentence

    def server(self, identity, *options):
        port = self.receiver_port()
        out = self.path("out%d" % port)
        os.mkdir(out)
        # pylint: disable-next=consider-using-with  # ended by the cleanup
        p = subprocess.Popen(["storescp", "-od", out, "+B", *identity.tool(), *options, str(port)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return port, out
            except OSError:
                self.assertLess(time.monotonic(), deadline, "storescp did not start")
                time.sleep(0.02)

    @staticmethod
    def receiver_port():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def test_stock_receiver(self):
        port, out = self.server(self.theirs)
        body = dataset(sop_class=SEG, uid="1.2.77", pixels=os.urandom(2000000))
        self.assertEqual(self.send(port, self.ours, "", self.write("seg.dcm", part10(body, SEG, "1.2.77")))[0], "0")
        name, = os.listdir(out)
        self.assertEqual(body_of(read(os.path.join(out, name))), body)

    def test_own_receiver(self):
        r = self.receiver("--tls", self.theirs.folder)
        self.assertEqual(self.send(r.port, self.ours)[0], "0")

    def test_receivers_that_are_not_trusted(self):
        for identity, words in ((self.expired, "certificate has expired"), (self.stranger, "unable to get local issuer")):
            outcome, sentence = self.send(self.receiver("--tls", identity.folder, root=identity.folder + ".store").port, self.ours)
            self.assertEqual(outcome, "1", "retried: %s" % sentence)
            self.assertIn("is not connected to by TLS: the peer's certificate is not accepted: " + words, sentence)

    def test_name(self):
        elsewhere = self.pki.issue("elsewhere", names="DNS:pacs.example")
        port = self.receiver("--tls", elsewhere.folder).port
        outcome, sentence = self.send(port, self.ours)
        self.assertEqual(outcome, "1")
        self.assertIn("IP address mismatch", sentence)
        self.assertIn("hostname mismatch", self.send(port, self.ours, "ct.example")[1])
        self.assertEqual(self.send(port, self.ours, "pacs.example")[0], "0")
        self.assertEqual(self.send(port, self.ours, "*")[0], "0")

    def test_receiver_does_not_trust_us(self):
        port = self.receiver("--tls", self.theirs.folder).port
        mistrusted = self.other.issue("unknown", trusts=self.pki)
        outcome, sentence = self.send(port, mistrusted)
        self.assertEqual(outcome, "1")
        self.assertIn("is not connected to by TLS: the peer does not trust our certificate", sentence)

    def test_receiver_without_tls(self):
        outcome, sentence = self.send(self.receiver().port, self.ours, timeout=2)
        self.assertEqual(outcome, "1", sentence)
        self.assertIn("TLS", sentence)

    def test_receiver_stalls_in_the_handshake(self):
        began = time.monotonic()
        outcome, sentence = self.send(self.play_peer(lambda p: (p.recv(10), time.sleep(20))), self.ours, timeout=1)
        self.assertEqual(outcome, "1", sentence)
        self.assertLess(time.monotonic() - began, 15)


del Tls
if __name__ == "__main__":
    unittest.main(verbosity=1)
