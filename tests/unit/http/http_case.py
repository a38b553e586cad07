"""The server of serve.c as a test's own, and what every answer of it must be like."""
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

SERIES = '1.2.3.4'
SERVE = []  # the program, set by main()


class Server:
    def __init__(self, *limit_ms, env=None, prepare=None):
        """env: further settings; prepare: called with the folder before the start."""
        self.dir = tempfile.mkdtemp(prefix='msad-http-')
        if prepare:
            prepare(self.dir)
        self.process = subprocess.Popen([SERVE[0], self.dir, *limit_ms], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        env={**os.environ, **(env or {})})
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

    def raw(self, data, timeout=1):
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


def main():
    """Usage: test_x.py HTTP_SERVE [unittest arguments]"""
    SERVE.append(os.path.abspath(sys.argv[1]))
    unittest.main(module='__main__', argv=sys.argv[:1] + sys.argv[2:])
