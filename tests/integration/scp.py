"""A destination that does as it is told: answers each C-STORE with what its script says (PS3.8 section 9, PS3.7 9.1.1).

script: a list, one entry a try, the last for all that follow: a DIMSE status (int), 'abort', 'drop' (stores the object and
closes without an answer), 'reject-transient', 'reject-permanent', 'hang'.
"""
import socket
import struct
import threading
import time

import dul


class Scp:
    def __init__(self, script, port=0):
        self.script, self.stored, self.tries = list(script), [], []  # (SOP Instance UID, dataset); (time, word)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(('127.0.0.1', port))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.ae_title, self.open = 'SCRIPTED', True
        threading.Thread(target=self.serve, daemon=True).start()

    def stop(self):
        self.open = False
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def serve(self):
        while self.open:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.attend, args=(peer,), daemon=True).start()

    def attend(self, peer):
        try:
            with peer:
                peer.settimeout(30)
                self.association(peer)
        except (OSError, struct.error):
            pass  # the other side gave up

    def next_word(self):
        word = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.tries.append((time.monotonic(), word))
        return word

    @staticmethod
    def take(peer, count):
        data = b''
        while len(data) < count:
            piece = peer.recv(count - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def read_pdu(self, peer):
        kind, _, length = struct.unpack('>BBI', self.take(peer, 6))
        return kind, self.take(peer, length)

    def association(self, peer):
        kind, request = self.read_pdu(peer)
        word = self.next_word()
        if kind != 1 or word == 'hang':
            time.sleep(20)
            return
        if word in ('reject-transient', 'reject-permanent'):
            peer.sendall(struct.pack('>BBIBBBB', 3, 0, 4, 0, *((2, 3, 1) if word == 'reject-transient' else (1, 1, 3))))
            return
        peer.sendall(self.accept(request))
        command, dataset, context = self.message(peer)
        elements = self.elements(command)
        uid = elements[0x1000].rstrip(b'\0').decode()
        if word == 'abort':
            peer.sendall(struct.pack('>BBIBBBB', 7, 0, 4, 0, 0, 0, 0))
            return
        if word == 'drop' or word < 0x100 or word & 0xf000 == 0xb000:
            self.stored.append((uid, dataset))
        if word == 'drop':
            return
        response = dul.command((2, elements[2]), (0x100, struct.pack('<H', 0x8001)), (0x120, elements[0x110]),
                               (0x800, struct.pack('<H', 0x101)), (0x900, struct.pack('<H', word)), (0x1000, elements[0x1000]))
        peer.sendall(struct.pack('>BBIIBB', 4, 0, len(response) + 6, len(response) + 2, context, 3) + response)
        kind, _ = self.read_pdu(peer)
        if kind == 5:
            peer.sendall(struct.pack('>BBI', 6, 0, 4) + bytes(4))

    @staticmethod
    def accept(request):
        body = request[:68] + dul.item(0x10, b'1.2.840.10008.3.1.1.1')
        offset = 68
        while offset + 4 <= len(request):
            kind, _, length = struct.unpack('>BBH', request[offset:offset + 4])
            inner = request[offset + 4:offset + 4 + length]
            if kind == 0x20:
                at, transfer = 4, b''
                while at + 4 <= len(inner):
                    sub, _, size = struct.unpack('>BBH', inner[at:at + 4])
                    if sub == 0x40 and not transfer:
                        transfer = inner[at + 4:at + 4 + size]
                    at += 4 + size
                body += dul.item(0x21, bytes([inner[0], 0, 0, 0]) + dul.item(0x40, transfer))
            offset += 4 + length
        body += dul.item(0x50, dul.item(0x51, struct.pack('>I', 65536)) + dul.item(0x52, b'1.2.3.5') + dul.item(0x55, b'SCP'))
        return struct.pack('>BBI', 2, 0, len(body)) + body

    def message(self, peer):
        """The command, the dataset and the context of the C-STORE that comes."""
        parts, last, context = {True: b'', False: b''}, {True: False, False: False}, 0
        while not all(last.values()):
            kind, body = self.read_pdu(peer)
            if kind != 4:
                raise ConnectionError
            offset = 0
            while offset < len(body):
                length, context, control = struct.unpack('>IBB', body[offset:offset + 6])
                parts[bool(control & 1)] += body[offset + 6:offset + 4 + length]
                last[bool(control & 1)] |= bool(control & 2)
                offset += 4 + length
        return parts[True], parts[False], context

    @staticmethod
    def elements(command):
        found, offset = {}, 0
        while offset < len(command):
            _, number, length = struct.unpack('<HHI', command[offset:offset + 8])
            found[number] = command[offset + 8:offset + 8 + length]
            offset += 8 + length
        return found
