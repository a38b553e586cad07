"""Every route that reads, and every way to ask wrongly."""
import hashlib
import json
import os
import re

from http_case import SERIES, Base, main


class Reading(Base):
    def test_service(self):
        self.assertEqual(self.get('/healthz', 'Health')['status'], 'ok')
        self.assertEqual(self.get('/readyz', 'Ready')['status'], 'ready')
        self.server.tell('unready')
        self.server.changes()  # the command before has been obeyed
        response, data = self.server.ask('GET', '/readyz')
        self.problem(response, data, 503, 'the model is being loaded')
        self.assertIsNotNone(response.getheader('Retry-After'))
        self.alive()
        self.server.tell('ready')
        self.server.changes()
        self.get('/readyz', 'Ready')

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
                self.assertIn(kind, ('counter', 'gauge', 'histogram'))
                self.assertEqual(name.endswith('_total'), kind == 'counter')
                kinds[name] = kind
            else:
                match = re.fullmatch(r'(msad_[a-z_]+)(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? (-?[0-9.e+-]+)', line)
                self.assertIsNotNone(match, line)
                self.assertTrue(match[1] in kinds or kinds.get(re.sub('_(bucket|sum|count)$', '', match[1])) == 'histogram', line)
                self.assertNotIn((match[1], match[2]), seen)
                seen.add((match[1], match[2]))
        text = data.decode()
        for line in ('msad_ready 1', 'msad_instances_stored_total 42', 'msad_engine_seconds_total 1.5',
                     'msad_catalogue_instances_rejected 1', 'msad_jobs{state="failed"} 1', 'msad_jobs{state="queued"} 3'):
            self.assertIn(line + '\n', text)
        self.assertIn('untrained="true"', text)
        self.assertEqual(len([s for s in seen if s[0] == 'msad_jobs']), 9)

    def test_dashboard(self):
        """Each file as it stands in the sources, under a policy that lets a browser load nothing else."""
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../server/http/page')
        for path, name, media in (('/', 'index.html', 'text/html'), ('/page.css', 'page.css', 'text/css'), ('/page.js', 'page.js', 'text/javascript')):
            response, body = self.get(path)
            with open(os.path.join(folder, name), 'rb') as file:
                self.assertEqual(body, file.read(), name)
            self.assertEqual(response.getheader('Content-Type'), media + '; charset=utf-8')
            policy = response.getheader('Content-Security-Policy')
            self.assertTrue(policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob: data:;"), policy)
            self.assertNotIn('unsafe', policy)
            tag = response.getheader('ETag')
            self.assertEqual(self.server.ask('GET', path, headers={'If-None-Match': tag})[0].status, 304)

    def test_openapi(self):
        document = json.loads(self.get('/openapi.json')[1])
        self.assertEqual(document['openapi'], '3.1.0')
        self.assertEqual(set(document['paths']), {
            '/', '/page.css', '/page.js', '/healthz', '/readyz', '/metrics', '/openapi.json', '/v1/jobs', '/v1/jobs/{id}', '/v1/jobs/{id}/result',
            '/v1/jobs/{id}/preview.png', '/v1/jobs/{id}/slices.png', '/v1/series', '/v1/series/{uid}', '/v1/series/{uid}/hold', '/v1/series/{uid}/release', '/v1/series/{uid}/complete',
            '/v1/series/{uid}/expected', '/v1/rules', '/v1/rules/test', '/v1/annotations', '/v1/annotations/{id}',
            '/v1/destinations/{name}/echo', '/v1/jobs/{id}/cancel', '/v1/jobs/{id}/retry', '/v1/jobs/{id}/priority', '/v1/events', '/v1/associations', '/v1/instances', '/v1/instances/{id}', '/v1/destinations', '/v1/models',
            '/v1/deliveries', '/v1/deliveries/{id}/requeue', '/v1/destinations/{name}/requeue'})
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
                response, data = self.server.ask(method.upper().replace('GET', 'HEAD'), path.replace('{', '').replace('}', ''))
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
        self.assertEqual(job['segments'][0]['candidates'],
                         {'slice': 1, 'predicted_iou': [0.5, 0.25, 0.75, 0.875], 'chosen': 3})
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
        self.assertEqual(hashlib.sha256(data).hexdigest(), job['results'][0]['sha256'])
        self.assertEqual(response.getheader('Content-Disposition'), f'attachment; filename="{job["id"]}-1.dcm"')
        etag = response.getheader('ETag')
        self.assertEqual(etag, '"' + job['results'][0]['sha256'] + '"')
        self.assertEqual(self.get(f'/v1/jobs/{job["id"]}/result')[1], data)
        response, empty = self.server.ask('GET', job['results'][0]['href'], headers={'If-None-Match': etag})
        self.assertEqual((response.status, empty), (304, b''))
        response, empty = self.server.ask('HEAD', job['results'][0]['href'])
        self.assertEqual((response.status, empty, response.getheader('Content-Length')), (200, b'', str(len(data))))
        for href in (job['preview_href'], job['slices_href']):
            response, picture = self.get(href)
            self.assertEqual(response.getheader('Content-Type'), 'image/png')
            self.assertTrue(picture.startswith(b'\x89PNG'))
        for name, status, part in (('failed', 409, 'the series has a gap of 10 mm'), ('empty', 404, 'found nothing'),
                                   ('waiting', 404, 'the job is waiting_prompt; it has no'), ('receiving', 404, 'the job is receiving')):
            self.refused('GET', f'/v1/jobs/{jobs[name][0]}/result', status, part)
            self.refused('GET', f'/v1/jobs/{jobs[name][0]}/preview.png', status, part)
            self.refused('GET', f'/v1/jobs/{jobs[name][0]}/slices.png', status, part)
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
        self.refused('GET', '/v1/instances?state=received', 400, 'rejected or noted')
        noted = self.get('/v1/instances?state=noted', 'InstanceList')['instances']
        self.assertEqual([(i['sop_instance_uid'], i['state'], i['kind'], i['note'], i['prompts']) for i in noted],
                         [(SERIES + '.98.1', 'indexed', 'annotation', 'it draws nothing', 0)])
        self.assertEqual(self.get(f'/v1/instances/{SERIES}.98.1', 'Instance'), noted[0])
        self.assertEqual(self.get('/v1/instances/' + noted[0]['sha256'], 'Instance'), noted[0])
        self.assertEqual(self.get(f'/v1/instances/{SERIES}.4.1', 'Instance')['kind'], 'image')
        self.assertEqual(self.get('/v1/destinations', 'DestinationList'), {'destinations': []})
        answer = self.get('/v1/models', 'ModelList')
        self.assertEqual([(m['kind'], m['adapter'], m['name'], m['hash'], m['rules'], m['error']) for m in answer['models']],
                         [('base', None, 'tiny', 'ab12', [3], None), ('adapter', 'liver', 'tiny+ct', 'cd34', [1], None),
                          ('adapter', 'broken', '', None, [], 'the file is cut short')])
        self.assertEqual(answer['models'][0]['card'], {'path': '/models/CARD.md', 'title': 'A tiny model'})
        self.assertEqual(answer['models'][0]['profile'], {'image_size': 64, 'input_norm': 'sam', 'crop_margin': 0.3})
        self.assertEqual((answer['models'][1]['card'], answer['models'][2]['profile']), (None, None))
        self.assertEqual([(r['number'], r['modality'], r['body_part'], r['label'], r['prompts'], r['adapter'], r['hash'])
                          for r in answer['rules']],
                         [(1, 'CT', 'LIVER', 'tumour', 'wait', 'liver', 'cd34'), (2, 'MR', '*', '*', 'wait', 'broken', None),
                          (3, '*', '*', '*', 'auto', None, 'ab12')])

    def test_pages(self):
        """Every list goes on where the page before it ended, and loses and repeats nothing."""
        for i in range(5):
            self.post({'series_instance_uid': SERIES + '.4', 'label': 'page %d' % i, 'points': [{'slice': 1, 'point': [i, i]}]})
        for path, schema, name in (('/v1/annotations', 'AnnotationList', 'annotations'), ('/v1/associations', 'AssociationList', 'associations'),
                                   ('/v1/instances', 'InstanceList', 'instances'), ('/v1/instances?state=noted', 'InstanceList', 'instances'),
                                   (f'/v1/annotations?series={SERIES}.4', 'AnnotationList', 'annotations'), ('/v1/annotations?state=waiting', 'AnnotationList', 'annotations'),
                                   ('/v1/series', 'SeriesList', 'series'), ('/v1/jobs', 'JobList', 'jobs'), ('/v1/deliveries', 'DeliveryList', 'deliveries')):
            link = path + ('&' if '?' in path else '?')
            everything = self.get(path, schema)
            self.assertIsNone(everything['next_cursor'])
            paged, cursor = [], ''
            while cursor is not None:
                page = self.get(f'{link}limit=2' + (f'&cursor={cursor}' if cursor else ''), schema)
                self.assertLessEqual(len(page[name]), 2)
                paged += page[name]
                cursor = page['next_cursor']
            self.assertEqual(paged, everything[name], path)

    def test_no_patient_attribute(self):
        for path in ('/v1/jobs', '/v1/series', '/v1/annotations', '/v1/associations', '/v1/instances'):
            self.assertNotRegex(self.get(path)[1].decode().lower(), 'patient|birth')

    def test_methods_and_paths(self):
        for path in ('//', '/index.html', '/v1', '/v1/', '/v1/jobs/', '//v1/jobs', '/V1/jobs', '/healthz/', '/healthz%00', '/v1/jobs/a/b/c',
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


if __name__ == '__main__':
    main()
