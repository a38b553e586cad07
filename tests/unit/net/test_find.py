"""dicom_find_images() against an archive by hand: what each answer counts for, and archives that misbehave."""
import os
import struct
import time
import unittest

from net_world import BIN, EXPLICIT, Case, Sender, element, tool

DELIVERED, RETRY, REFUSED = 0, 1, 2
SERIES = "1.2.3.1"
FIND = b"1.2.840.10008.5.1.4.1.2.2.1"


def series(uid=SERIES, images=None):
    body = element(8, 0x52, "CS", "SERIES") + element(0x20, 0x0d, "UI", "1.2.3") + element(0x20, 0x0e, "UI", uid)
    return body + (element(0x20, 0x1209, "IS", str(images)) if images is not None else b"")


def image(number, uid=SERIES):
    return (element(8, 0x18, "UI", "1.2.3.1.%d" % number) + element(8, 0x52, "CS", "IMAGE") + element(0x20, 0x0d, "UI", "1.2.3") +
            element(0x20, 0x0e, "UI", uid))


class Archive(Sender):
    """Answers each question with what `answers(level)` gives: identifiers, and the status that ends them."""

    def __init__(self, connection, answers):
        self.sock, self.answers, self.asked = connection, answers, []

    def accept(self):
        _, rq = self.pdu()
        ac = rq[:68] + self.item(0x10, b"1.2.840.10008.3.1.1.1") + self.item(0x21, b"\1\0\0\0" + self.item(0x40, EXPLICIT.encode()))
        ac += self.item(0x50, self.item(0x51, struct.pack(">I", 16384)) + self.item(0x52, b"1.2.3"))
        self.send(struct.pack(">BBI", 2, 0, len(ac)) + ac)

    def question(self):
        """The identifiers of the next C-FIND, or None at the end."""
        data = b""
        while True:
            kind, body = self.pdu()
            if kind != 4:
                if kind == 5:
                    self.send(struct.pack(">BBII", 6, 0, 4, 0))
                return None
            at = 0
            while at + 6 <= len(body):
                size, control = struct.unpack_from(">I", body, at)[0], body[at + 5]
                if not control & 1:
                    data += body[at + 6:at + 4 + size]
                    if control & 2:
                        return data
                at += 4 + size

    def answer(self, number, status, identifiers=None):
        def el(tag, value):
            return struct.pack("<HHI", 0, tag, len(value)) + value
        body = (el(2, FIND + b"\0") + el(0x100, b"\x20\x80") + el(0x120, struct.pack("<H", number)) +
                el(0x800, b"\1\1" if identifiers is None else b"\1\0") + el(0x900, struct.pack("<H", status)))
        self.pdv(el(0, struct.pack("<I", len(body))) + body, command=True)
        if identifiers is not None:
            self.pdv(identifiers)

    def serve(self):
        self.accept()
        number = 0
        while (asked := self.question()) is not None:
            number += 1
            self.asked.append(asked)
            found, status = self.answers("IMAGE" if b"IMAGE" in asked else "SERIES")
            for identifiers in found:
                self.answer(number, 0xff00, identifiers)
            self.answer(number, status)


class Find(Case):
    def find(self, port, timeout=5):
        """(images, outcome, status, sentence)"""
        rc, said = tool(os.path.join(BIN, "mini_scu"), "127.0.0.1", port, "ARCHIVE", timeout, "--find", "1.2.3", SERIES)
        self.assertEqual(rc, 0, said)
        head, sentence = said.strip().split("|", 1)
        return (*map(int, head.split()[1:]), sentence)

    def ask(self, answers, levels=None):
        archive = []

        def play(peer):
            archive.append(Archive(peer, answers))
            archive[0].serve()
        images, outcome, status, sentence = self.find(self.play_peer(play))
        if levels:
            self.assertEqual(["IMAGE" if b"IMAGE" in a else "SERIES" for a in archive[0].asked], levels)
            for asked in archive[0].asked:
                self.assertIn(b"1.2.3.1\0", asked)
        return images, outcome, status, sentence

    def test_it_knows_the_number(self):
        self.assertEqual(self.ask(lambda level: ([series(images=120)], 0), ["SERIES"])[:3], (120, DELIVERED, 0))

    def test_it_lists_the_images(self):
        """Number of Series Related Instances is optional."""
        def answers(level):
            return ([series()] if level == "SERIES" else [image(n) for n in (1, 2, 3, 3, 2)], 0)
        images, outcome, _, sentence = self.ask(answers, ["SERIES", "IMAGE"])
        self.assertEqual((images, outcome), (3, DELIVERED))
        self.assertIn("has 3 images of the series", sentence)

    def test_keys_that_it_ignores(self):
        """Some archives answer with all that they have."""
        self.assertEqual(self.ask(lambda level: ([series("1.2.3.9", 500), series(images=7), series("1.2.3.8", 900)], 0))[0], 7)

        def answers(level):
            return ([] if level == "SERIES" else [image(1), image(2, "1.2.3.9"), image(3, "1.2.3.9")], 0)
        self.assertEqual(self.ask(answers)[0], 1)

    def test_it_has_none(self):
        self.assertEqual(self.ask(lambda level: ([], 0), ["SERIES", "IMAGE"])[:2], (0, DELIVERED))

    def test_numbers_that_are_none(self):
        for wrong in ("-3", "x", "99999999999", ""):
            self.assertEqual(self.ask(lambda level, w=wrong: ([series(images=w)], 0) if level == "SERIES" else ([image(1)], 0))[:2],
                             (1, DELIVERED), wrong)

    def test_it_refuses(self):
        images, outcome, status, sentence = self.ask(lambda level: ([], 0xa900), ["SERIES"])
        self.assertEqual((images, outcome, status), (0, REFUSED, 0xa900))
        self.assertIn("answered the C-FIND with status A900", sentence)

    def quick(self, play, words):
        began = time.monotonic()
        images, outcome, _, sentence = self.find(self.play_peer(play), 1)
        self.assertLess(time.monotonic() - began, 12)
        self.assertEqual((images, outcome), (0, RETRY), sentence)
        self.assertIn(words, sentence)

    def test_it_says_nothing(self):
        self.quick(lambda p: time.sleep(15), "did not answer the association request")

        def silent(peer):
            Archive(peer, None).accept()
            time.sleep(15)
        self.quick(silent, "did not answer the C-FIND: the peer was silent")

    def test_it_never_ends(self):
        def endless(level):
            while True:
                yield series("1.2.3.9")
        self.quick(lambda p: Archive(p, lambda level: (endless(level), 0)).serve(), "its answer does not end")

    def test_it_goes_away(self):
        def leave(peer):
            archive = Archive(peer, None)
            archive.accept()
            archive.question()
            archive.answer(1, 0xff00, series(images=5))
        self.quick(leave, "did not answer the C-FIND")

    def test_noise(self):
        def noise(peer):
            archive = Archive(peer, None)
            archive.accept()
            archive.question()
            archive.pdv(os.urandom(3000), command=True)
            archive.pdv(os.urandom(3000))
            time.sleep(3)
        self.quick(noise, "did not answer the C-FIND")


if __name__ == "__main__":
    unittest.main()
