"""Stopping, and what an idle server costs."""
import re
import shutil
import socket
import time
import unittest

from http_case import Server, main


class Ending(unittest.TestCase):
    """Each with a server of its own."""

    def test_stop_answers_who_waits(self):
        server = Server()
        answers = []
        job = server.jobs['waiting'][0]
        sockets = [socket.create_connection(('127.0.0.1', server.port), timeout=10) for _ in range(20)]
        for s in sockets:
            s.sendall(f'GET /v1/jobs/{job}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
        idle = socket.create_connection(('127.0.0.1', server.port), timeout=10)
        time.sleep(0.5)
        server.tell('hold 300')  # and some in the store's hands when it stops
        busy = [socket.create_connection(('127.0.0.1', server.port), timeout=10) for _ in range(10)]
        for s in busy:
            s.sendall(b'GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n')
        time.sleep(0.1)
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 5)
        for s in sockets + busy:
            answers.append(s.recv(4096))
            s.close()
        for answer in answers:
            self.assertIn(b' 503 ', answer.split(b'\r\n')[0])
            self.assertIn(b'the service is stopping', answer)
        self.assertEqual(idle.recv(10), b'')
        idle.close()

    def test_end_of_input_stops(self):
        server = Server()
        server.process.stdin.close()
        self.assertEqual(server.process.wait(20), 0)
        server.process.stdout.close()
        shutil.rmtree(server.dir)

    def test_idle_costs_nothing(self):
        server = Server()
        server.ask('GET', '/healthz')

        def ticks():
            with open(f'/proc/{server.process.pid}/stat', encoding='ascii') as f:
                fields = f.read().rsplit(')', 1)[1].split()
            with open(f'/proc/{server.process.pid}/status', encoding='ascii') as f:
                switches = int(re.search(r'voluntary_ctxt_switches:\s+(\d+)', f.read())[1])
            return int(fields[11]) + int(fields[12]), switches
        time.sleep(0.5)
        before = ticks()
        time.sleep(1)
        after = ticks()
        self.assertLessEqual(after[0] - before[0], 1)
        self.assertLessEqual(after[1] - before[1], 2)  # no timer runs
        self.assertEqual(server.stop(), 0)


if __name__ == '__main__':
    main()
