"""Clients that send rubbish, leave, or meet a busy catalogue: the server stays."""
import json
import random
import socket
import time

from http_case import Base, body, main


class Hostile(Base):
    def test_mutated_bodies(self):
        rng = random.Random(20240607)
        seed = json.dumps(body(points=[{'sop_instance_uid': '1.2', 'point': [1, 2], 'positive': True}],
                               site={'value': '1', 'scheme': 'SCT', 'meaning': 'm'})).encode()
        connection = self.server.connect()
        counts = {}
        for _ in range(500):
            data = bytearray(seed)
            for _ in range(rng.randint(1, 6)):
                at = rng.randrange(len(data))
                kind = rng.randrange(4)
                if kind == 0:
                    data[at] = rng.randrange(256)
                elif kind == 1:
                    del data[at:at + rng.randint(1, 9)]
                elif kind == 2:
                    data[at:at] = rng.choice([b'[', b'{', b'"', b'\\u', b'null', b'1e99', b'-', b'\x00', b',', b'9' * 40])
                else:
                    data[at:at] = data[at:at + rng.randint(1, 30)]
            connection.request('POST', '/v1/annotations', bytes(data), {'Content-Type': 'application/json'})
            response = connection.getresponse()
            answer = json.loads(response.read())
            self.assertIn(response.status, (201, 400), answer)
            counts[response.status] = counts.get(response.status, 0) + 1
            if response.status == 400:
                self.assertTrue(answer['detail'])
        connection.close()
        self.assertGreater(counts[400], 300)
        self.alive()

    def test_mutated_requests(self):
        rng = random.Random(7)
        seeds = [b'GET /v1/jobs?limit=3&state=failed HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
                 b'POST /v1/annotations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
                 b'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n',
                 b'GET /v1/series/1.2.3.4.1 HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: "x"\r\nConnection: close\r\n\r\n']
        for i in range(150):
            data = bytearray(seeds[i % 3])
            for _ in range(rng.randint(1, 5)):
                at = rng.randrange(len(data))
                if rng.random() < 0.5:
                    data[at] = rng.randrange(256)
                else:
                    data[at:at] = rng.choice([b'\r\n', b'\x00', b'%', b'%zz', b' ', b':', b'=', b'&', b'?', b'A' * 300, b'\r\nHost: x'])
            self.server.raw(bytes(data), 0.1)
        self.alive()

    def test_huge_headers(self):
        self.server.raw(b'GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ' + b'a' * 200000 + b'\r\n\r\n', 0.5)
        self.server.raw(b'GET /' + b'a' * 200000 + b' HTTP/1.1\r\nHost: localhost\r\n\r\n', 0.5)
        self.server.raw(b'GET /healthz HTTP/1.1\r\n' + b'X: y\r\n' * 20000 + b'\r\n', 0.5)
        self.server.raw(b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(500), 0.5)  # TLS
        self.server.raw(bytes(range(256)) * 40, 0.5)
        self.alive()

    def test_clients_that_leave(self):
        href = f'/v1/jobs/{self.server.jobs["succeeded"][0]}/result'
        for _ in range(20):  # in the middle of a file
            with socket.create_connection(('127.0.0.1', self.server.port)) as s:
                s.sendall(f'GET {href} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
                s.recv(1000)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\x01\0\0\0\0\0\0\0')
        self.server.tell('hold 400')
        for _ in range(50):  # while the catalogue is busy with others
            with socket.create_connection(('127.0.0.1', self.server.port)) as s:
                s.sendall(b'GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n')
        self.alive()  # needs no catalogue
        self.get('/v1/jobs', 'JobList')

    def test_busy_catalogue(self):
        self.server.tell('hold 700')
        self.server.changes()
        start = time.monotonic()
        self.alive()
        self.assertLess(time.monotonic() - start, 0.5)
        self.get('/v1/jobs', 'JobList')
        self.assertGreater(time.monotonic() - start, 0.4)


if __name__ == '__main__':
    main()
