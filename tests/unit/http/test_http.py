"""REST against a real catalogue: every route, every refusal, clients that misbehave. Usage: test_http.py HTTP_SERVE"""
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SERIES = '1.2.3.4'
SERVE = None


class Server:
    def __init__(self, *limit_ms):
        self.dir = tempfile.mkdtemp(prefix='msad-http-')
        self.process = subprocess.Popen([SERVE, self.dir, *limit_ms], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.jobs = {}
        for line in self.process.stdout:
            name, value = line.split()
            if name == 'port':
                self.port = int(value)
                return
            self.jobs.setdefault(name, []).append(value)
        raise RuntimeError('the server did not start')

    def tell(self, command):
        self.process.stdin.write(command + '\n')

    def changes(self):
        self.tell('changes')
        return int(self.process.stdout.readline().split()[1])

    def stop(self):
        """Ends in order; the exit code also tells of leaks and races under a sanitizer."""
        self.tell('stop')
        code = self.process.wait(20)
        self.process.stdin.close()
        self.process.stdout.close()
        shutil.rmtree(self.dir)
        return code

    def connect(self, timeout=20):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, timeout=20):
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def raw(self, data, timeout=10):
        """Sends bytes, returns all that comes until the server closes, or nothing comes any more."""
        with socket.create_connection(('127.0.0.1', self.port), timeout=timeout) as s:
            got = b''
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has answered and closed before the end
            while True:
                try:
                    part = s.recv(65536)
                except OSError:
                    return got
                if not part:
                    return got
                got += part


def body(**members):
    base = {'series_instance_uid': SERIES + '.4', 'label': 'liver', 'boxes': [{'slice': 1, 'box': [1, 2, 30, 40]}]}
    base.update(members)
    return {k: v for k, v in base.items() if v is not None}


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.schemas = json.loads(cls.server.ask('GET', '/openapi.json')[1])['components']['schemas']

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        if code != 0:
            raise AssertionError(f'the server ended with {code}')

    # ---- what every answer must be like ----

    def conforms(self, value, schema, where=''):
        """A small reader of the part of JSON Schema that /openapi.json uses."""
        if '$ref' in schema:
            return self.conforms(value, self.schemas[schema['$ref'].split('/')[-1]], where)
        if 'anyOf' in schema:
            return None if value is None else self.conforms(value, schema['anyOf'][0], where)
        kinds = {'object': dict, 'array': list, 'string': str, 'boolean': bool, 'integer': int, 'number': (int, float)}
        kind = schema['type']
        self.assertIsInstance(value, kinds[kind], where)
        if kind in ('integer', 'number'):
            self.assertNotIsInstance(value, bool, where)
        if schema.get('format') == 'date-time':
            self.assertRegex(value, r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$', where)
        if kind == 'array':
            self.assertLessEqual(len(value), schema.get('maxItems', 10**9), where)
            for item in value:
                self.conforms(item, schema['items'], where + '[]')
        if kind == 'object' and 'properties' in schema:
            self.assertFalse(set(schema['required']) - set(value), where)
            self.assertFalse(set(value) - set(schema['properties']), where)
            for name, member in value.items():
                self.conforms(member, schema['properties'][name], f'{where}.{name}')
        return None

    def safe(self, response):
        self.assertEqual(response.getheader('X-Content-Type-Options'), 'nosniff')
        self.assertEqual(response.getheader('Cache-Control'), 'no-store')

    def get(self, path, schema=None, status=200, **kw):
        response, data = self.server.ask('GET', path, **kw)
        self.assertEqual(response.status, status, data[:300])
        self.safe(response)
        if schema is None:
            return response, data
        self.assertEqual(response.getheader('Content-Type'), 'application/json')
        value = json.loads(data)
        self.conforms(value, {'$ref': '/' + schema}, schema)
        return value

    def problem(self, response, data, status, part=''):
        self.assertEqual(response.status, status, data[:300])
        self.assertEqual(response.getheader('Content-Type'), 'application/problem+json')
        self.safe(response)
        value = json.loads(data)
        self.conforms(value, {'$ref': '/Problem'}, 'Problem')
        self.assertEqual(value['status'], status)
        self.assertIn(part, value['detail'])
        return value

    def refused(self, method, path, status, part='', **kw):
        return self.problem(*self.server.ask(method, path, **kw), status, part)

    def post(self, value, status=201, part='', key=None, raw=None, media='application/json'):
        headers = {'Content-Type': media} if media else {}
        if key is not None:
            headers['Idempotency-Key'] = key
        data = raw if raw is not None else json.dumps(value)
        response, answer = self.server.ask('POST', '/v1/annotations', data, headers)
        if status >= 400:
            return self.problem(response, answer, status, part)
        self.assertEqual(response.status, status, answer)
        created = json.loads(answer)
        self.conforms(created, {'$ref': '/CreatedAnnotation'}, 'created')
        self.assertEqual(response.getheader('Location'), '/v1/annotations/' + created['id'])
        return created

    def alive(self):
        self.get('/healthz', 'Health')


class Reading(Base):
    def test_service(self):
        self.assertEqual(self.get('/healthz', 'Health')['status'], 'ok')
        self.assertEqual(self.get('/readyz', 'Health')['status'], 'ready')
        self.server.tell('unready')
        self.server.changes()  # the command before has been obeyed
        response, data = self.server.ask('GET', '/readyz')
        self.problem(response, data, 503, 'the model is being loaded')
        self.assertIsNotNone(response.getheader('Retry-After'))
        self.alive()
        self.server.tell('ready')
        self.server.changes()
        self.get('/readyz', 'Health')

    def test_metrics(self):
        response, data = self.get('/metrics')
        self.assertEqual(response.getheader('Content-Type'), 'text/plain; version=0.0.4; charset=utf-8')
        kinds, seen = {}, set()
        for line in data.decode().splitlines():
            if line.startswith('# HELP '):
                helped = line.split()[2]
            elif line.startswith('# TYPE '):
                name, kind = line.split()[2:]
                self.assertEqual(name, helped)
                self.assertNotIn(name, kinds)
                self.assertIn(kind, ('counter', 'gauge'))
                self.assertEqual(name.endswith('_total'), kind == 'counter')
                kinds[name] = kind
            else:
                match = re.fullmatch(r'(msad_[a-z_]+)(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? (-?[0-9.e+]+)', line)
                self.assertIsNotNone(match, line)
                self.assertIn(match[1], kinds)
                self.assertNotIn((match[1], match[2]), seen)
                seen.add((match[1], match[2]))
        text = data.decode()
        for line in ('msad_ready 1', 'msad_instances_stored_total 42', 'msad_engine_seconds_total 1.5',
                     'msad_catalogue_instances_rejected 1', 'msad_jobs{state="failed"} 1', 'msad_jobs{state="queued"} 3'):
            self.assertIn(line + '\n', text)
        self.assertIn('untrained="true"', text)
        self.assertEqual(len([s for s in seen if s[0] == 'msad_jobs']), 9)

    def test_openapi(self):
        document = json.loads(self.get('/openapi.json')[1])
        self.assertEqual(document['openapi'], '3.1.0')
        self.assertEqual(set(document['paths']), {
            '/healthz', '/readyz', '/metrics', '/openapi.json', '/v1/jobs', '/v1/jobs/{id}', '/v1/jobs/{id}/result',
            '/v1/jobs/{id}/preview.png', '/v1/series', '/v1/series/{uid}', '/v1/annotations', '/v1/annotations/{id}',
            '/v1/associations', '/v1/instances', '/v1/destinations', '/v1/models'})
        ids, refs = set(), set()

        def collect(node):
            for name, value in (node.items() if isinstance(node, dict) else enumerate(node)):
                if name == '$ref':
                    refs.add(value)
                elif isinstance(value, (dict, list)):
                    collect(value)
        collect(document)
        for ref in refs:
            _, _, kind, name = ref.split('/')
            self.assertIn(name, document['components'][kind])
        for path, methods in document['paths'].items():
            for method, operation in methods.items():
                self.assertIn(method, ('get', 'post', 'delete'))
                self.assertNotIn(operation['operationId'], ids)
                ids.add(operation['operationId'])
                self.assertTrue(operation['summary'])
                self.assertIn('default', operation['responses'])
                in_path = [p['name'] for p in operation['parameters'] if p['in'] == 'path']
                self.assertEqual(in_path, re.findall(r'\{(\w+)\}', path))
                for response in operation['responses'].values():
                    self.assertTrue('$ref' in response or response['description'])
                # the method is there: an id that cannot be is 404, never 405
                response, data = self.server.ask(method.upper(), path.replace('{', '').replace('}', ''))
                self.assertNotEqual(response.status, 405, (method, path))
        for name, schema in document['components']['schemas'].items():
            self.assertEqual(schema['type'], 'object', name)
            self.assertLessEqual(set(schema.get('required', [])), set(schema.get('properties', {})), name)
        states = document['paths']['/v1/jobs']['get']['parameters'][0]['schema']['enum']
        self.assertEqual(states[0], 'receiving')
        self.assertEqual(len(states), 9)

    def test_job(self):
        jobs = self.server.jobs
        job = self.get('/v1/jobs/' + jobs['succeeded'][0], 'Job')
        self.assertEqual(job['state'], 'succeeded')
        self.assertEqual(job['series_instance_uid'], SERIES + '.1')
        self.assertEqual(job['model'], {'name': 'tiny', 'version': '1', 'hash': 'ab12', 'untrained': True})
        self.assertEqual(job['warnings'], ['slice spacing varies by 1%', 'one box lies outside'])
        self.assertEqual(job['segments'][0]['volume_ml'], 0.1)
        self.assertEqual(job['deliveries'][0]['state'], 'delivered')
        self.assertEqual(job['deliveries'][0]['dimse_status'], '0000')
        self.assertEqual(job['prompts'], 1)
        self.assertEqual(job['created_at'], '2023-11-14T22:13:20.000Z')
        failed = self.get('/v1/jobs/' + jobs['failed'][0], 'Job')
        self.assertEqual((failed['state'], failed['reason']), ('failed', 'the series has a gap of 10 mm'))
        empty = self.get('/v1/jobs/' + jobs['empty'][0], 'Job')
        self.assertEqual((empty['state'], empty['results'], empty['reason']), ('succeeded_empty', [], None))
        self.assertEqual(self.get('/v1/jobs/' + jobs['waiting'][0], 'Job')['state'], 'waiting_prompt')
        receiving = self.get('/v1/jobs/' + jobs['receiving'][0], 'Job')
        self.assertEqual((receiving['state'], receiving['model'], receiving['started_at']), ('receiving', None, None))
        for bad in ('0' * 32, 'x', 'a.b', '%00', '0' * 65, '0' * 5000, '%2e%2e', "';--"):
            self.refused('GET', '/v1/jobs/' + bad, 404)

    def test_job_list(self):
        everything = self.get('/v1/jobs', 'JobList')
        self.assertIsNone(everything['next_cursor'])
        self.assertEqual(len(everything['jobs']), 8)
        paged, cursor = [], ''
        while cursor is not None:
            page = self.get('/v1/jobs?limit=3' + (f'&cursor={cursor}' if cursor else ''), 'JobList')
            self.assertLessEqual(len(page['jobs']), 3)
            paged += page['jobs']
            cursor = page['next_cursor']
        self.assertEqual(paged, everything['jobs'])
        self.assertEqual(paged[-1]['id'], self.server.jobs['succeeded'][0])  # newest first
        self.assertIsNone(self.get('/v1/jobs?limit=8', 'JobList')['next_cursor'])
        failed = self.get('/v1/jobs?state=failed', 'JobList')['jobs']
        self.assertEqual([j['id'] for j in failed], self.server.jobs['failed'])
        one = self.get(f'/v1/jobs?series={SERIES}.2&state=succeeded_empty', 'JobList')['jobs']
        self.assertEqual([j['id'] for j in one], self.server.jobs['empty'])
        self.assertEqual(self.get('/v1/jobs?series=9.9', 'JobList')['jobs'], [])
        for query, part in (('state=done', 'state is not the name of a job state'), ('limit=0', 'limit is not a whole number in the range 1..200'),
                            ('limit=201', 'limit'), ('limit=-1', 'limit'), ('limit=1e1', 'limit'), ('limit=', 'limit'), ('limit', 'limit'),
                            ('limit=1&limit=2', 'limit is there twice'), ('series=1..2', 'series is not a DICOM UID'), ('cursor=c1-00', 'cursor'),
                            ('cursor=' + '9' * 300, 'cursor'), ('stat=failed', 'this path takes state, series, limit, cursor'),
                            ('series=1.2%00', 'series'), ('id=5', 'unknown query parameter')):
            self.refused('GET', '/v1/jobs?' + query, 400, part)
        self.refused('GET', '/v1/models?x=1', 400, 'takes none')

    def test_result(self):
        jobs = self.server.jobs
        job = self.get('/v1/jobs/' + jobs['succeeded'][0], 'Job')
        response, data = self.get(job['results'][0]['href'])
        self.assertEqual(response.getheader('Content-Type'), 'application/dicom')
        self.assertEqual(len(data), job['results'][0]['size_bytes'])
        self.assertTrue(data.startswith(b'DICM result'))
        import hashlib
        self.assertEqual(hashlib.sha256(data).hexdigest(), job['results'][0]['sha256'])
        self.assertEqual(response.getheader('Content-Disposition'), f'attachment; filename="{job["id"]}-1.dcm"')
        etag = response.getheader('ETag')
        self.assertEqual(etag, '"' + job['results'][0]['sha256'] + '"')
        self.assertEqual(self.get(f'/v1/jobs/{job["id"]}/result')[1], data)
        response, empty = self.server.ask('GET', job['results'][0]['href'], headers={'If-None-Match': etag})
        self.assertEqual((response.status, empty), (304, b''))
        response, empty = self.server.ask('HEAD', job['results'][0]['href'])
        self.assertEqual((response.status, empty, response.getheader('Content-Length')), (200, b'', str(len(data))))
        response, picture = self.get(job['preview_href'])
        self.assertEqual(response.getheader('Content-Type'), 'image/png')
        self.assertTrue(picture.startswith(b'\x89PNG'))
        for name, status, part in (('failed', 409, 'the series has a gap of 10 mm'), ('empty', 404, 'found nothing'),
                                   ('waiting', 404, 'the job is waiting_prompt; it has no'), ('receiving', 404, 'the job is receiving')):
            self.refused('GET', f'/v1/jobs/{jobs[name][0]}/result', status, part)
            self.refused('GET', f'/v1/jobs/{jobs[name][0]}/preview.png', status, part)
        self.refused('GET', f'/v1/jobs/{job["id"]}/result?number=2', 404, 'no such result')
        self.refused('GET', f'/v1/jobs/{job["id"]}/result?number=0', 400, 'number')
        self.refused('GET', f'/v1/jobs/{"0" * 32}/result', 404)
        self.refused('GET', f'/v1/jobs/{"0" * 32}/preview.png', 404)

    def test_series(self):
        everything = self.get('/v1/series', 'SeriesList')['series']
        self.assertEqual([s['series_instance_uid'] for s in everything], [f'{SERIES}.{i}' for i in range(8, 0, -1)])
        paged, cursor = [], ''
        while cursor is not None:
            page = self.get('/v1/series?limit=3' + (f'&cursor={cursor}' if cursor else ''), 'SeriesList')
            paged += page['series']
            cursor = page['next_cursor']
        self.assertEqual(paged, everything)
        one = self.get(f'/v1/series/{SERIES}.1', 'Series')
        self.assertEqual((one['instances'], one['rejected'], one['state'], one['closed_by']), (3, 0, 'closed', 'quiet'))
        self.assertEqual([j['id'] for j in one['jobs']], self.server.jobs['succeeded'])
        self.get(one['jobs'][0]['href'], 'Job')
        still_open = self.get(f'/v1/series/{SERIES}.5', 'Series')
        self.assertEqual((still_open['state'], still_open['closed_by'], still_open['closed_at']), ('open', None, None))
        for bad in ('9.9', '1..2', 'abc', '1.2%2f3', '1.' * 60):
            self.refused('GET', '/v1/series/' + bad, 404)

    def test_lists(self):
        associations = self.get('/v1/associations', 'AssociationList')
        self.assertEqual(associations['associations'][0]['calling_ae'], 'PACS')
        self.assertEqual(associations['associations'][0]['ended'], 'released')
        self.assertEqual(associations['refusals'][0]['reason'], 'the called AE title is not ours')
        rejected = self.get('/v1/instances?state=rejected', 'InstanceList')['instances']
        self.assertEqual([(i['sop_instance_uid'], i['state']) for i in rejected], [(SERIES + '.99.1', 'rejected')])
        self.assertIn('shorter than rows', rejected[0]['reason'])
        self.refused('GET', '/v1/instances?state=received', 400, 'rejected')
        self.assertEqual(self.get('/v1/destinations', 'DestinationList'), {'destinations': []})
        self.assertEqual(self.get('/v1/models', 'ModelList')['models'][0]['untrained'], True)

    def test_no_patient_attribute(self):
        for path in ('/v1/jobs', '/v1/series', '/v1/annotations', '/v1/associations', '/v1/instances'):
            self.assertNotRegex(self.get(path)[1].decode().lower(), 'patient|birth')

    def test_methods_and_paths(self):
        for path in ('/', '/v1', '/v1/', '/v1/jobs/', '//v1/jobs', '/V1/jobs', '/healthz/', '/healthz%00', '/v1/jobs/a/b/c',
                     '/../etc/passwd', '/v1/series/../jobs', '/%68ealthz/x'):
            self.refused('GET', path, 404, 'nothing at this path')
        for method, path, allow in (('POST', '/healthz', 'GET, HEAD, OPTIONS'), ('DELETE', '/v1/jobs', 'GET, HEAD, OPTIONS'),
                                    ('PUT', '/v1/annotations', 'POST, GET, HEAD, OPTIONS'), ('PATCH', '/v1/annotations/x', 'GET, HEAD, DELETE, OPTIONS'),
                                    ('BREW', '/v1/series', 'GET, HEAD, OPTIONS')):
            response, data = self.server.ask(method, path, 'x' if method != 'DELETE' else None)
            self.problem(response, data, 405, 'this path takes ' + allow)
            self.assertEqual(response.getheader('Allow'), allow)
        response, data = self.server.ask('OPTIONS', '/v1/annotations')
        self.assertEqual((response.status, data, response.getheader('Allow')), (204, b'', 'POST, GET, HEAD, OPTIONS'))
        self.refused('OPTIONS', '/nothing', 404)
        self.assertIn(b'HTTP/1.1 204', self.server.raw(b'OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'))
        for path in ('/healthz', '/v1/jobs', '/metrics', '/openapi.json'):
            response, data = self.server.ask('HEAD', path)
            self.assertEqual((response.status, data), (200, b''))
            self.assertGreater(int(response.getheader('Content-Length')), 0)
        self.assertEqual(self.server.ask('HEAD', '/nothing')[0].status, 404)

    def test_host(self):
        for host in ('127.0.0.1', 'localhost', 'LocalHost:1', '[::1]:8090', f'127.0.0.1:{self.server.port}'):
            self.get('/healthz', headers={'Host': host})
        for host in ('evil.example', '127.0.0.1.evil.example', 'localhost.evil:80', '127.0.0.1:', '127.0.0.1:80x', '[::1', '127.0.0.2', ''):
            self.refused('GET', '/healthz', 421, 'names another machine', headers={'Host': host})
        answer = self.server.raw(b'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n')
        self.assertIn(b' 400 ', answer.split(b'\r\n')[0])
        self.assertIn(b' 200 ', self.server.raw(b'GET /healthz HTTP/1.0\r\n\r\n').split(b'\r\n')[0])

    def test_keep_alive(self):
        connection = self.server.connect()
        for i in range(50):
            path, status = (('/healthz', 200), ('/v1/jobs', 200), ('/nothing', 404), ('/v1/jobs?x=1', 400))[i % 4]
            connection.request('GET', path)
            response = connection.getresponse()
            response.read()
            self.assertEqual(response.status, status)
            self.assertFalse(response.will_close)
        connection.close()
        two = b'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
        self.assertEqual(self.server.raw(two).count(b'HTTP/1.1 200'), 2)  # pipelined


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
        self.assertEqual((box['box'], box['slice'], box['label'], box['waiting']), ([1, 2, 30, 40], 1, 'liver', False))
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
        waiting = self.get('/v1/annotations?waiting=true', 'AnnotationList')['annotations']
        self.assertEqual({a['annotation_id'] for a in waiting}, {created['id'], by_image['id']})
        self.assertTrue(all(a['waiting'] for a in waiting))
        image = next(a for a in waiting if a['sop_instance_uid'])
        self.assertEqual((image['sop_instance_uid'], image['frame'], image['slice']), ('9.8.7.6', 2, None))
        self.refused('GET', '/v1/annotations?waiting=yes', 400, 'waiting is not true or false')
        for c in (created, by_image):
            self.assertEqual(self.server.ask('DELETE', c['href'])[0].status, 204)

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
        time.sleep(1.5)
        after = ticks()
        self.assertLessEqual(after[0] - before[0], 1)
        self.assertLessEqual(after[1] - before[1], 2)  # no timer runs
        self.assertEqual(server.stop(), 0)


if __name__ == '__main__':
    SERVE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
