"""A DICOM peer that does as it is told, also what no toolkit would: bytes on a socket (PS3.8 section 9, PS3.7 annex E).

Used where storescu is too well behaved: hostile datasets, half an object, silence, garbage.
"""
import socket
import struct

VERIFICATION = '1.2.840.10008.1.1'
CT_IMAGE = '1.2.840.10008.5.1.4.1.1.2'
IMPLICIT_LE = '1.2.840.10008.1.2'
EXPLICIT_LE = '1.2.840.10008.1.2.1'
JPEG_2000 = '1.2.840.10008.1.2.4.90'
HTJ2K = '1.2.840.10008.1.2.4.201'
MPEG_2 = '1.2.840.10008.1.2.4.100'


def item(kind, body):
    return struct.pack('>BBH', kind, 0, len(body)) + body


def even_uid(uid):
    return uid.encode() + (b'\0' if len(uid) % 2 else b'')


def element(group, number, value):
    """One element of a command set: Implicit VR Little Endian (PS3.7 section 6.3.1)."""
    return struct.pack('<HHI', group, number, len(value)) + value


def command(*elements):
    body = b''.join(element(0, number, value) for number, value in elements)
    return element(0, 0, struct.pack('<I', len(body))) + body


class Refused(Exception):
    """The peer rejected or aborted: .kind 3 is A-ASSOCIATE-RJ, 7 is A-ABORT; .body its bytes."""

    def __init__(self, kind, body):
        super().__init__('PDU type %d %s' % (kind, body.hex()))
        self.kind, self.body = kind, body


class Peer:
    """A connection. contexts: (abstract syntax, [transfer syntaxes]) each; their ids are 1, 3, 5, ..."""

    def __init__(self, port, timeout_s=30):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout_s)
        self.accepted = {}  # context id to transfer syntax
        self.results = {}   # context id to result code: 0 accepted, 3 abstract, 4 transfer syntaxes refused
        self.message_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def pdu(self, kind, body):
        self.raw(struct.pack('>BBI', kind, 0, len(body)) + body)

    def take(self, count):
        data = b''
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError('the peer closed the connection')
            data += piece
        return data

    def read_pdu(self):
        kind, _, length = struct.unpack('>BBI', self.take(6))
        body = self.take(length)
        if kind in (3, 7):
            raise Refused(kind, body)
        return kind, body

    def associate(self, contexts, called='MSAD', calling='TESTPEER'):
        body = struct.pack('>HH', 1, 0) + called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
        body += item(0x10, b'1.2.840.10008.3.1.1.1')
        for number, (abstract, transfers) in enumerate(contexts):
            inner = struct.pack('>BBBB', 2 * number + 1, 0, 0, 0) + item(0x30, abstract.encode())
            body += item(0x20, inner + b''.join(item(0x40, t.encode()) for t in transfers))
        body += item(0x50, item(0x51, struct.pack('>I', 65536)) + item(0x52, b'1.2.3.4') + item(0x55, b'TEST'))
        self.pdu(1, body)
        _, answer = self.read_pdu()
        offset = 68
        while offset + 4 <= len(answer):
            kind, _, length = struct.unpack('>BBH', answer[offset:offset + 4])
            inner = answer[offset + 4:offset + 4 + length]
            if kind == 0x21:
                self.results[inner[0]] = inner[2]
                if inner[2] == 0:
                    self.accepted[inner[0]] = inner[8:].rstrip(b'\0').decode()
            offset += 4 + length
        return self

    def pdv(self, context, data, is_command, last):
        self.pdu(4, struct.pack('>IBB', len(data) + 2, context, (1 if is_command else 0) | (2 if last else 0)) + data)

    def read_status(self):
        """Status of the response that comes: the command set's (0000,0900)."""
        data = b''
        while True:
            _, body = self.read_pdu()
            offset = 0
            while offset < len(body):
                length, _, control = struct.unpack('>IBB', body[offset:offset + 6])
                data += body[offset + 6:offset + 4 + length]
                offset += 4 + length
                if control & 2:
                    return self.status_of(data)

    @staticmethod
    def status_of(data):
        offset = 0
        while offset < len(data):
            group, number, length = struct.unpack('<HHI', data[offset:offset + 8])
            if (group, number) == (0, 0x0900):
                return struct.unpack('<H', data[offset + 8:offset + 10])[0]
            offset += 8 + length
        raise AssertionError('a response without a status')

    def echo(self, context=1):
        self.message_id += 1
        self.pdv(context, command((2, even_uid(VERIFICATION)), (0x100, struct.pack('<H', 0x30)),
                                  (0x110, struct.pack('<H', self.message_id)), (0x800, struct.pack('<H', 0x101))), True, True)
        return self.read_status()

    def store_command(self, sop_class, sop_instance, context=1):
        self.message_id += 1
        self.pdv(context, command((2, even_uid(sop_class)), (0x100, struct.pack('<H', 1)),
                                  (0x110, struct.pack('<H', self.message_id)), (0x700, struct.pack('<H', 0)),
                                  (0x800, struct.pack('<H', 1)), (0x1000, even_uid(sop_instance))), True, True)

    def store(self, sop_class, sop_instance, dataset, context=1, piece=16000):
        """C-STORE of any bytes; returns the status."""
        self.store_command(sop_class, sop_instance, context)
        for start in range(0, max(len(dataset), 1), piece):
            self.pdv(context, dataset[start:start + piece], False, start + piece >= len(dataset))
        return self.read_status()

    def release(self):
        self.pdu(5, bytes(4))
        self.read_pdu()
        self.socket.close()


def store_bytes(port, dataset, sop_instance, sop_class=CT_IMAGE, syntax=EXPLICIT_LE):
    """One association, one C-STORE of any bytes; returns the status."""
    with Peer(port) as peer:
        peer.associate([(sop_class, [syntax])])
        status = peer.store(sop_class, sop_instance, dataset)
        peer.release()
    return status
