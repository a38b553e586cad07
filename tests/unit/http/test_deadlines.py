"""Nothing runs for ever (invariant 5): slow and silent clients, a catalogue that does not answer."""
import json
import socket
import time
import unittest

from http_case import Server, main


class Deadlines(unittest.TestCase):
    def test_deadlines(self):
        """Slowness is not silence: a client that always sends a little is ended too (invariant 5)."""
        server = Server('400')
        head = b'POST /v1/annotations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n'
        for start in (head + b'\r\n', head + b'X: ', b'', None):  # slow body, slow header, silent, idle after a request
            with socket.create_connection(('127.0.0.1', server.port), timeout=5) as s:
                if start is None:
                    s.sendall(b'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
                    self.assertIn(b'200', s.recv(4096))
                s.sendall(start or b'')
                begin = time.monotonic()
                s.settimeout(0.05)
                while time.monotonic() - begin < 5:
                    try:
                        if start:
                            s.sendall(b'x')
                        if s.recv(1) == b'':
                            break
                    except TimeoutError:
                        continue
                    except OSError:
                        break
                self.assertLess(time.monotonic() - begin, 2)
                self.assertGreater(time.monotonic() - begin, 0.3)
        server.tell('hold 1200')
        server.changes()
        begin = time.monotonic()
        for _ in range(2):
            response, data = server.ask('GET', '/v1/jobs')
            self.assertEqual((response.status, json.loads(data)['detail']), (503, 'the catalogue did not answer within 400 ms'))
        self.assertLess(time.monotonic() - begin, 1.2)
        time.sleep(0.5)  # the answers come now, to nobody
        self.assertEqual(server.ask('GET', '/v1/jobs')[0].status, 200)
        response, _ = server.ask('GET', f'/v1/jobs/{server.jobs["waiting"][0]}?wait=1')  # has a deadline of its own
        self.assertEqual(response.status, 200)
        self.assertEqual(server.stop(), 0)


if __name__ == '__main__':
    main()
