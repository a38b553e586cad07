"""POST and DELETE of annotations: bodies, keys, limits."""
import hashlib
import json
import os
import socket
import time

from http_case import SERIES, Base, body, main


class Writing(Base):
    def test_create_read_delete(self):
        before = self.server.changes()
        created = self.post(body(points=[{'slice': 2, 'point': [5.25, 6], 'positive': False}],
                                 type={'value': '10200004', 'scheme': 'SCT', 'meaning': 'Liver'}, tracking_id='Lesion 1'))
        self.assertEqual(created['prompts'], 2)
        self.assertEqual(self.server.changes(), before + 1)
        got = self.get(created['href'], 'AnnotationList')['annotations']
        self.assertEqual({a['kind'] for a in got}, {'box', 'point'})
        box = next(a for a in got if a['kind'] == 'box')
        point = next(a for a in got if a['kind'] == 'point')
        self.assertEqual((box['box'], box['slice'], box['label'], box['waiting'], box['waits_for']), ([1, 2, 30, 40], 1, 'liver', False, None))
        self.assertEqual(box['series_instance_uid'], SERIES + '.4')
        self.assertEqual((point['point'], point['positive'], point['tracking_id']), ([5.25, 6], False, 'Lesion 1'))
        self.assertEqual(box['type']['meaning'], 'Liver')
        self.assertEqual(box['annotation_id'], created['id'])
        listed = self.get(f'/v1/annotations?series={SERIES}.4', 'AnnotationList')['annotations']
        self.assertEqual(sum(a['annotation_id'] == created['id'] for a in listed), 2)
        response, data = self.server.ask('DELETE', created['href'])
        self.assertEqual((response.status, data), (204, b''))
        self.assertEqual(self.server.changes(), before + 2)
        self.refused('DELETE', created['href'], 404)
        self.refused('GET', created['href'], 404)
        self.assertEqual(self.server.changes(), before + 2)
        self.refused('DELETE', '/v1/annotations/' + 'f' * 32, 404)
        self.refused('DELETE', '/v1/annotations/seed1', 409, 'a job has used this annotation')

    def test_waiting(self):
        created = self.post(body(series_instance_uid='9.8.7'))
        by_image = self.post({'label': 'x', 'boxes': [{'sop_instance_uid': '9.8.7.6', 'frame': 2, 'box': [0, 0, 1, 1]}]})
        in_space = self.post({'label': 'x', 'frame_of_reference_uid': '9.8', 'boxes': [{'box_mm': [0, 0, 0, 5, 5, 5]}],
                              'points': [{'point_mm': [1, 2, 3]}]})
        waiting = self.get('/v1/annotations?state=waiting', 'AnnotationList')['annotations']
        self.assertEqual({a['annotation_id'] for a in waiting}, {created['id'], by_image['id'], in_space['id']})
        self.assertTrue(all(a['waiting'] for a in waiting))
        self.assertEqual({(a['waits_for']['what'], a['waits_for']['uid'], a['waits_for']['since'] == a['created_at']) for a in waiting},
                         {('image', '9.8.7.6', True), ('series', '9.8.7', True), ('frame_of_reference', '9.8', True)})
        box, point = self.get(in_space['href'], 'AnnotationList')['annotations']
        self.assertEqual((box['box_mm'], box['box'], box['slice'], box['frame']), ([0, 0, 0, 5, 5, 5], None, None, None))
        self.assertEqual((point['point_mm'], point['positive']), ([1, 2, 3], True))
        image = next(a for a in waiting if a['sop_instance_uid'])
        self.assertEqual((image['sop_instance_uid'], image['frame'], image['slice']), ('9.8.7.6', 2, None))
        self.refused('GET', '/v1/annotations?state=yes', 400, 'state is not the word waiting')
        for c in (created, by_image, in_space):
            self.assertEqual(self.server.ask('DELETE', c['href'])[0].status, 204)

    def test_box_on_several_slices(self):
        created = self.post(body(boxes=[{'slices': [0, 2], 'box': [1, 2, 30, 40]}]))
        self.assertEqual(created['prompts'], 3)
        got = self.get(created['href'], 'AnnotationList')['annotations']
        self.assertEqual([(a['slice'], a['box']) for a in got], [(k, [1, 2, 30, 40]) for k in range(3)])

    def test_text(self):
        self.post({'label': 'liver', 'series_instance_uid': SERIES + '.4', 'text': 'the liver'}, 422, 'text model')

    def upload(self, data, status=201, media='application/dicom'):
        response, answer = self.server.ask('POST', '/v1/annotations', data, {'Content-Type': media})
        self.assertEqual(response.status, status, answer)
        created = json.loads(answer)
        if status < 400:
            self.conforms(created, {'$ref': '/CreatedAnnotation'}, 'created')
            self.assertEqual(response.getheader('Location'), created['href'])
        return created

    def test_upload(self):
        """A file is kept as it came and waits to be read: nothing here reads it."""
        data = b'\0' * 128 + b'DICM' + bytes(range(256)) * 8192  # 2 MiB: above the limit of JSON
        before = self.server.changes()
        created = self.upload(data)
        digest = hashlib.sha256(data).hexdigest()
        self.assertEqual(created, {'id': digest, 'prompts': None, 'href': '/v1/instances/' + digest})
        self.assertEqual(self.server.changes(), before + 1)
        with open(os.path.join(self.server.dir, 'blobs', digest[:2], digest), 'rb') as f:
            self.assertEqual(f.read(), data)
        self.assertEqual(os.listdir(os.path.join(self.server.dir, 'incoming')), [])
        got = self.get(created['href'], 'Instance')
        self.assertEqual((got['state'], got['sop_instance_uid'], got['size_bytes'], got['kind'], got['prompts']),
                         ('received', None, len(data), None, 0))
        self.assertEqual(self.upload(data, 200), created)  # the same file again
        self.assertEqual(self.server.changes(), before + 1)
        self.assertNotEqual(self.upload(data + b'x')['id'], digest)
        self.refused('POST', '/v1/annotations', 400, 'the body is empty', body='', headers={'Content-Type': 'application/dicom'})
        self.refused('POST', '/v1/annotations', 415, 'application/json or application/dicom', body='x',
                     headers={'Content-Type': 'application/dicom+json'})
        self.refused('GET', '/v1/instances/' + '0' * 64, 404)
        self.refused('GET', '/v1/instances/x', 404)

    def test_upload_that_ends_early(self):
        head = b'POST /v1/annotations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\nConnection: close\r\n'
        before = self.server.changes()
        incoming = os.path.join(self.server.dir, 'incoming')

        def until(count):
            end = time.time() + 20
            while len(os.listdir(incoming)) != count and time.time() < end:
                time.sleep(0.05)
            self.assertEqual(len(os.listdir(incoming)), count)
        with socket.create_connection(('127.0.0.1', self.server.port), timeout=10) as s:
            s.sendall(head + b'Content-Length: 100000\r\n\r\n' + b'x' * 50000)
            until(1)
        until(0)
        self.alive()
        self.assertEqual(self.server.changes(), before)
        answer = self.server.raw(head + b'Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n')
        self.assertIn(b' 413 ', answer.split(b'\r\n')[0])

    def test_idempotency(self):
        before = self.server.changes()
        first = self.post(body(), key='abc-1')
        self.assertEqual(self.post(body(), 200, key='abc-1'), first)
        self.assertEqual(self.server.changes(), before + 1)
        self.assertEqual(len(self.get(first['href'], 'AnnotationList')['annotations']), 1)
        self.post(body(label='spleen'), 409, 'Idempotency-Key', key='abc-1')
        self.post(body(boxes=[{'slice': 1, 'box': [1, 2, 30, 41]}]), 409, key='abc-1')
        self.post(body(boxes=[{'slice': 1, 'box': [1, 2, 30, 40]}] * 2), 409, key='abc-1')
        self.post(body(series_instance_uid=SERIES + '.5'), 409, key='abc-1')  # the same on another series
        self.post({'label': 'x', 'boxes': [{'sop_instance_uid': '9.9', 'box': [0, 0, 1, 1]}]}, 409, key='abc-1')
        self.assertEqual(len(self.get(first['href'], 'AnnotationList')['annotations']), 1)
        other = self.post(body(), key='abc-2')
        self.assertNotEqual(other['id'], first['id'])
        self.assertNotEqual(self.post(body())['id'], self.post(body())['id'])
        for key in ('', 'a b', 'k' * 256):
            self.post(body(), 400, 'Idempotency-Key', key=key)

    def test_refusals(self):
        self.post(None, 400, 'the body is empty', raw='')
        self.post(None, 400, 'line 1 column 10', raw='{"boxes" [}')
        self.post(None, 400, 'duplicate', raw='{"label":"a","label":"b"}')
        self.post(None, 400, 'not JSON', raw=b'{"label":"\xff"}')
        self.post(None, 400, 'not JSON', raw='{"label":"\\u0000"}')
        self.post(None, 400, 'not JSON', raw='[' * 100000)
        self.post(None, 400, 'not JSON', raw='{} {}')
        self.post(None, 400, 'not JSON', raw='{"boxes":[{"slice":1,"box":[NaN,0,1,1]}]}')
        self.post(None, 400, 'not JSON', raw='{"boxes":[{"slice":1,"box":[1e999,0,1,1]}]}')
        self.post(None, 400, 'not a JSON object', raw='[]')
        self.post(body(label=None), 400, 'boxes[0].label is missing')
        self.post(body(boxes=[{'slice': 1, 'box': [1, 1, 1, 2]}]), 400, 'boxes[0].box is empty')
        self.post(body(colour='red'), 400, 'colour is not a known member')
        self.post(body(), 415, media=None)
        for media in ('text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'multipart/form-data; boundary=x'):
            self.post(body(), 415, 'application/json', media=media)
        self.refused('POST', '/v1/annotations', 415, 'Content-Encoding', body='x',
                     headers={'Content-Type': 'application/json', 'Content-Encoding': 'gzip'})
        self.assertEqual(self.post(body(), media='application/json; charset=utf-8')['prompts'], 1)
        self.refused('POST', '/v1/annotations?x=1', 400, 'unknown query', body='{}', headers={'Content-Type': 'application/json'})

    def test_most_items(self):
        boxes = [{'slice': i, 'box': [0, 0, 1, 1]} for i in range(4096)]
        created = self.post(body(series_instance_uid='9.4096', boxes=boxes))
        self.assertEqual(created['prompts'], 4096)
        self.post(body(boxes=boxes + boxes[:1]), 400, 'at most 4096')
        self.assertEqual(self.server.ask('DELETE', created['href'])[0].status, 204)

    def test_large_bodies(self):
        json_type = {'Content-Type': 'application/json'}
        exact = json.dumps(body()).encode()
        exact += b' ' * (1 << 20)
        self.post(None, 201, raw=exact[:1 << 20])
        self.post(None, 413, '1 MiB', raw=exact[:(1 << 20) + 1])
        self.post(None, 413, raw=b'x' * (8 << 20))
        # declared beyond what is worth reading: answered without it
        answer = self.server.raw(b'POST /v1/annotations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
                                 b'Content-Length: 99999999999\r\n\r\n' + b'x' * 1000)
        self.assertIn(b' 413 ', answer.split(b'\r\n')[0])
        answer = self.server.raw(b'POST /v1/annotations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
                                 b'Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n')
        self.assertIn(b' 413 ', answer.split(b'\r\n')[0])
        # chunked: no length is declared, so it is counted
        def chunks(n):
            for _ in range(n):
                yield b' ' * 65536
        response, data = self.server.ask('POST', '/v1/annotations', chunks(40), json_type)
        self.problem(response, data, 413)
        response, data = self.server.ask('POST', '/v1/annotations', iter([json.dumps(body()).encode()]), json_type)
        self.assertEqual(response.status, 201)
        with self.assertRaises(OSError):  # without end: the connection is closed
            self.server.ask('POST', '/v1/annotations', chunks(2000), json_type)
        self.refused('GET', '/healthz', 413, body=b'x' * (2 << 20))
        self.alive()

    def test_short_bodies(self):
        text = json.dumps(body()).encode()
        head = b'POST /v1/annotations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n'
        before = self.server.changes()
        self.server.raw(head + b'Content-Length: %d\r\n\r\n' % (len(text) + 10) + text)  # ends early
        self.assertEqual(self.server.changes(), before)
        with socket.create_connection(('127.0.0.1', self.server.port), timeout=10) as s:  # byte by byte
            for byte in head + b'Content-Length: %d\r\n\r\n' % len(text) + text:
                s.sendall(bytes([byte]))
            self.assertIn(b' 201 ', s.recv(4096).split(b'\r\n')[0])
        with socket.create_connection(('127.0.0.1', self.server.port), timeout=10) as s:  # never ends; others are served
            s.sendall(head + b'Content-Length: 100\r\n\r\n{')
            time.sleep(0.3)
            self.alive()
        self.alive()


if __name__ == '__main__':
    main()
