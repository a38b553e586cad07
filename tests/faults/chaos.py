"""A TCP proxy between DICOM peers that does to one direction what bad networks do, at a given byte.

  pass      nothing
  split     one byte at a time, up to the given byte
  delay     a pause at the byte
  reset     RST to both
  close     FIN to both: what came before is all there is
  half      the direction ends (FIN), the other one stays open
  swallow   what follows never arrives, as when an answer is lost
"""
import socket
import struct
import threading
import time

DELAY_S = 0.3


def pdu_boundaries(stream):
    """Offsets at which the PDUs of one direction begin and end (PS3.8 section 9.3)."""
    found, at = [0], 0
    while at + 6 <= len(stream):
        at += 6 + struct.unpack('>I', stream[at + 2:at + 6])[0]
        found.append(at)
    return found


class Proxy:
    """Listens on .port; each connection is one to `target`. direction: 'up' is towards the target, or 'down'."""

    def __init__(self, target):
        self.target, self.mode, self.at, self.direction = target, 'pass', 0, 'up'
        self.streams = {}  # of the last connection, by direction: what came in
        self.server = socket.create_server(('127.0.0.1', 0))
        self.port = self.server.getsockname()[1]
        self.threads = []
        threading.Thread(target=self.accept, daemon=True).start()

    def plan(self, mode, at=0, direction='up'):
        self.mode, self.at, self.direction = mode, at, direction

    def close(self):
        self.server.close()

    def accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(('127.0.0.1', self.target), 10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.streams = {'up': bytearray(), 'down': bytearray()}
            for direction, source, sink in (('up', near, far), ('down', far, near)):
                mode = self.mode if direction == self.direction else 'pass'
                threading.Thread(target=self.carry, args=(source, sink, mode, self.at, self.streams[direction]),
                                 daemon=True).start()

    @staticmethod
    def end(sockets, abruptly):
        for one in sockets:
            try:
                if abruptly:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                    one.shutdown(socket.SHUT_RD)  # wakes the other thread, which holds the socket open
                else:
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            except OSError:
                pass

    def carry(self, source, sink, mode, at, stream):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                done = len(stream)
                stream += data
                if mode != 'pass' and not self.meddle(source, sink, mode, data, at - done):
                    return
                if mode == 'pass':
                    sink.sendall(data)
        except OSError:
            self.end((source, sink), False)

    def meddle(self, source, sink, mode, data, left):
        """Sends on what is to be; left: bytes until the place. False: the direction is over."""
        before, after = data[:max(left, 0)], data[max(left, 0):]
        if mode == 'split':
            for k in range(len(before)):
                sink.sendall(before[k:k + 1])
            sink.sendall(after)
            return True
        if before:
            sink.sendall(before)
        if left >= len(data):  # not there yet
            return True
        if mode == 'delay':
            if left >= 0:
                time.sleep(DELAY_S)
            sink.sendall(after)
        elif mode == 'half':
            sink.shutdown(socket.SHUT_WR)
            return False
        elif mode in ('reset', 'close'):
            self.end((sink, source), mode == 'reset')
            return False
        return True  # swallow
