"""Long-polls."""
import json
import socket
import threading
import time

from http_case import Base, main


class Waiting(Base):
    """Long-polls; each test takes the oldest queued job and ends it."""

    def test_final_and_over(self):
        start = time.monotonic()
        self.get(f'/v1/jobs/{self.server.jobs["succeeded"][0]}?wait=60', 'Job')
        self.refused('GET', f'/v1/jobs/{"0" * 32}?wait=60', 404)
        self.assertLess(time.monotonic() - start, 5)
        job = self.get(f'/v1/jobs/{self.server.jobs["waiting"][0]}?wait=1', 'Job')
        self.assertEqual(job['state'], 'waiting_prompt')
        self.assertGreater(time.monotonic() - start, 0.9)
        self.refused('GET', f'/v1/jobs/{job["id"]}?wait=61', 400, 'wait')
        self.refused('GET', f'/v1/jobs/{job["id"]}?wait=-1', 400, 'wait')

    def wait_on(self, job, count, results, headers=None):
        def one():
            try:
                response, data = self.server.ask('GET', f'/v1/jobs/{job}?wait=60', headers=headers, timeout=40)
                results.append((response.status, json.loads(data)))
            except Exception as error:  # pylint: disable=broad-except
                results.append((0, repr(error)))
        threads = [threading.Thread(target=one) for _ in range(count)]
        for t in threads:
            t.start()
        return threads

    def until_waiting(self, count):
        for _ in range(200):
            if f'msad_http_waiting {count}\n'.encode() in self.get('/metrics')[1]:
                return
            time.sleep(0.05)
        self.fail(f'not {count} waiting')

    def test_many(self):
        job = self.server.jobs['queued'].pop(0)
        results = []
        threads = self.wait_on(job, 200, results)
        self.until_waiting(200)
        for _ in range(20):
            self.server.tell('touch ' + job)  # a change that is not the end
        self.alive()
        time.sleep(0.2)
        self.assertEqual(results, [])
        start = time.monotonic()
        self.server.tell('finish done')
        for t in threads:
            t.join()
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(len(results), 200)
        for status, value in results:
            self.assertEqual((status, value['id'], value['state']), (200, job, 'succeeded'))
        self.conforms(results[0][1], {'$ref': '/Job'}, 'Job')
        self.until_waiting(0)

    def test_most(self):
        """Beyond the bound a wait is refused, and everything else is still served."""
        job, results = self.server.jobs['waiting'][0], []
        sockets = []
        for _ in range(256):
            s = socket.create_connection(('127.0.0.1', self.server.port))
            s.sendall(f'GET /v1/jobs/{job}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
            sockets.append(s)
        self.until_waiting(256)
        self.refused('GET', f'/v1/jobs/{job}?wait=5', 503, 'wait already')
        self.get('/v1/jobs/' + job, 'Job')
        self.alive()
        for s in sockets:
            s.close()

    def test_leaving(self):
        job = self.server.jobs['queued'].pop(0)
        sockets = []
        for _ in range(60):
            s = socket.create_connection(('127.0.0.1', self.server.port))
            s.sendall(f'GET /v1/jobs/{job}?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
            sockets.append(s)
        results = []
        threads = self.wait_on(job, 5, results)
        for s in sockets[::2]:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\x01\0\0\0\0\0\0\0')
            s.close()
        self.server.tell('finish fail')
        for t in threads:
            t.join()
        for status, value in results:
            self.assertEqual((status, value['state']), (200, 'failed'))
        for s in sockets[1::2]:
            self.assertIn(b'200 OK', s.recv(100))
            s.close()
        self.alive()


if __name__ == '__main__':
    main()
