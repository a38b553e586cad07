"""The event stream: order, resuming, many readers, readers that are slow or leave."""
import http.client
import json
import socket
import time

from http_case import SERIES, Base, main


class Reader:
    """One server-sent event after the other."""

    def __init__(self, server, path='/v1/events', headers=None, timeout=20):
        self.connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=timeout)
        self.connection.request('GET', path, headers=headers or {})
        self.response = self.connection.getresponse()

    def next(self):
        """(event, id, data); None at the end of the stream."""
        fields = {}
        while True:
            line = self.response.readline().decode()
            if line == '':
                return None
            line = line.rstrip('\n')
            if line == '' and 'event' in fields:
                return fields['event'], int(fields['id']) if 'id' in fields else None, json.loads(fields['data'])
            name, _, value = line.partition(':')
            if name:
                fields[name] = value.strip()

    def until(self, count, kind='job'):
        found = []
        while len(found) < count:
            event = self.next()
            if event[0] == kind:
                found.append(event)
        return found

    def close(self):
        self.connection.close()
        self.response.close()


class Events(Base):
    def read_all(self, **kw):
        """Everything from the first event to the newest there is."""
        probe = Reader(self.server)
        newest = probe.next()[1]
        probe.close()
        reader, events = Reader(self.server, '/v1/events?after=0', **kw), []
        while not events or events[-1][1] is None or events[-1][1] < newest:
            events.append(reader.next())
        reader.close()
        return events

    def setUp(self):
        """The readers of the test before have been missed."""
        while b'\nmsad_http_streams 0\n' not in self.server.ask('GET', '/metrics')[1]:
            time.sleep(0.05)

    def test_history(self):
        events = self.read_all()
        self.assertEqual(events[0][0], 'start')
        ids = [e[1] for e in events if e[1] is not None]
        self.assertEqual(ids, sorted(ids))
        self.assertEqual(ids, list(range(ids[0], ids[0] + len(ids))))
        for kind, _, data in events[1:]:
            if kind != 'progress':
                self.conforms(data, {'$ref': '/Event'}, 'Event')
                self.assertEqual(data['kind'], kind)
        first = self.server.jobs['succeeded'][0]
        self.assertEqual([d['state'] for k, _, d in events if k == 'job' and d['subject'] == first],
                         ['receiving', 'queued', 'running', 'delivering', 'succeeded'])
        self.assertIn(('delivery', 'delivered', 'pacs'), [(k, d['state'], d['detail']) for k, _, d in events[1:] if k == 'delivery'])
        self.assertIn((SERIES + '.99.1', 'rejected'), [(d['subject'], d['state']) for k, _, d in events if k == 'instance'])
        self.assertIn('the called AE title is not ours', [d['detail'] for k, _, d in events if k == 'refusal'])
        self.assertIn((f'{SERIES}.1', 'closed'), [(d['subject'], d['state']) for k, _, d in events if k == 'series'])
        middle = ids[len(ids) // 2]  # again from the middle, as a browser does that was cut off
        reader = Reader(self.server, headers={'Last-Event-ID': str(middle)})
        self.assertEqual(reader.next()[:2], ('start', middle))
        rest = [e for e in events if e[1] is not None and e[1] > middle]
        self.assertEqual([reader.next() for _ in rest], rest)
        reader.close()

    def test_live(self):
        readers = [Reader(self.server) for _ in range(20)]
        for reader in readers:
            self.assertEqual(reader.response.status, 200)
            self.assertEqual(reader.response.getheader('Content-Type'), 'text/event-stream')
            self.assertEqual(reader.next()[0], 'start')
        job = self.server.jobs['queued'].pop(0)
        self.server.tell('finish done')
        for reader in readers:
            states = [(e[2]['subject'], e[2]['state']) for e in reader.until(2)]
            self.assertEqual(states, [(job, 'running'), (job, 'succeeded')])
            reader.close()

    def test_refused(self):
        for text in ('x', '-1', '1.5', '9' * 19):
            self.refused('GET', '/v1/events', 400, 'Last-Event-ID is not', headers={'Last-Event-ID': text})
        self.refused('GET', '/v1/events?after=x', 400, 'after is not the id of an event')
        reader = Reader(self.server, headers={'Last-Event-ID': '999999'})  # of another catalogue
        self.assertEqual(reader.next()[0], 'gap')
        reader.close()
        response, data = self.server.ask('HEAD', '/v1/events')
        self.assertEqual((response.status, data), (200, b''))

    def test_bounded(self):
        readers, refusal = [], None
        for _ in range(65):
            reader = Reader(self.server)
            if reader.response.status != 200:
                refusal = reader
                break
            readers.append(reader)
        self.assertIsNotNone(refusal)
        self.assertEqual(refusal.response.status, 503)
        self.assertIn('readers follow the events already', json.loads(refusal.response.read())['detail'])
        self.assertEqual(len(readers), 64)
        refusal.close()
        self.alive()
        for reader in readers:
            reader.close()

    def test_stop(self):
        """A server that stops ends its streams in order; nothing leaks."""
        from http_case import Server
        server = Server()
        readers = [Reader(server) for _ in range(3)]
        for reader in readers:
            reader.next()
        self.assertEqual(server.stop(), 0)
        for reader in readers:
            self.assertIsNone(reader.next())
            reader.close()

    def test_slow(self):
        """Who does not read what he is sent is dropped, and holds back nobody."""
        from http_case import Server
        server = Server('1500')
        slow = socket.create_connection(('127.0.0.1', server.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        slow.sendall(b'GET /v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n')
        reader = Reader(server)
        reader.next()
        server.tell('flood 9000')  # more than sockets and room hold
        last = reader.until(9000, 'refusal')[-1]
        self.assertIn('flood', last[2]['detail'])
        deadline, streams = time.monotonic() + 60, b''
        while time.monotonic() < deadline and streams != b'1':
            time.sleep(0.1)
            streams = server.ask('GET', '/metrics')[1].split(b'\nmsad_http_streams ')[1].split(b'\n')[0]
        self.assertEqual(streams, b'1')
        server.tell('flood 9000')
        server.changes()
        reader.until(9000, 'refusal')
        late = Reader(server, '/v1/events?after=1')  # the log has an end
        self.assertEqual(late.next()[0], 'gap')
        self.assertEqual(len(late.until(9999, 'refusal')), 9999)
        late.close()
        slow.close()
        reader.close()
        self.assertEqual(server.stop(), 0)


if __name__ == '__main__':
    main()
