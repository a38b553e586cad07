"""Access tokens: who may do what on every route, guesses, expiry, revocation, the command that makes them."""
import http.client
import json
import os
import re
import subprocess
import time
import unittest

from http_case import SERVE, Base, Server, main

OPEN = {'/healthz', '/', '/page.css', '/page.js'}  # the dashboard's files; what they show they ask for


def token(root, *words, fails=False):
    run = subprocess.run([SERVE[0], 'token', *words], env={**os.environ, 'MSAD_STORAGE_PATH': root}, capture_output=True, text=True, timeout=60)
    if fails:
        assert run.returncode != 0, run.stdout
        return run.stderr
    assert run.returncode == 0, run.stderr
    return run.stdout


class Auth(Base):
    @classmethod
    def setUpClass(cls):
        cls.secret = {}

        def prepare(root):
            for scope in ('read', 'operate', 'admin', 'phi', 'read,phi', 'admin,phi'):
                cls.secret[scope] = token(root, 'create', scope.replace(',', '-'), '--scope', scope).strip()
        cls.server = Server(prepare=prepare)
        cls.document = json.loads(cls.server.ask('GET', '/openapi.json', headers=cls.bearer('admin'))[1])
        cls.schemas = cls.document['components']['schemas']

    @classmethod
    def bearer(cls, scope):
        return {'Authorization': 'Bearer ' + cls.secret.get(scope, scope)}

    def status(self, method, path, secret=None):
        headers = {'Content-Type': 'application/json', **(self.bearer(secret) if secret else {})}
        response, data = self.server.ask(method, path, '{}' if method == 'POST' else None, headers)
        return response, data

    def each_route(self):
        job = self.server.jobs['succeeded'][0]
        for pattern, methods in self.document['paths'].items():
            path = re.sub(r'\{\w+\}', job if pattern.startswith('/v1/jobs/') else '1.2.3.999', pattern)
            for method, operation in methods.items():
                needed = operation['security'][0]['token'] if operation['security'] else None
                # a stream has no end: HEAD asks the same right
                yield 'HEAD' if pattern == '/v1/events' else method.upper(), pattern, path, needed

    def test_matrix(self):
        """Every route, with every token: allowed exactly where the table says."""
        gives = {'read': {'read'}, 'operate': {'read', 'operate'}, 'admin': {'read', 'operate', 'admin'}, 'phi': {'phi'},
                 'read,phi': {'read', 'phi'}, 'admin,phi': {'read', 'operate', 'admin', 'phi'}}
        n, operate = 0, 0
        for method, pattern, path, needed in self.each_route():
            n += 1
            if needed is None:
                self.assertIn(pattern, OPEN)
                self.assertEqual(self.status(method, path)[0].status, 200)
                continue
            self.assertTrue(needed, f'{method} {pattern} names no scope')
            self.assertNotIn(pattern, OPEN)
            operate += 'operate' in needed or 'admin' in needed
            if method in ('POST', 'DELETE') and pattern != '/v1/rules/test':
                self.assertNotIn('read', needed, f'{method} {pattern} changes something')
            for secret in (None, 'msad_' + 'A' * 44):
                response, data = self.status(method, path, secret)
                self.assertIn(response.status, (401, 429), (method, pattern, secret))
                if response.status == 401:
                    self.assertRegex(response.getheader('WWW-Authenticate'), '^Bearer realm="msad"')
            for scope, given in gives.items():
                response, data = self.status(method, path, scope)
                allowed = set(needed) <= given
                self.assertNotIn(response.status, (401, 429), (method, pattern, scope))
                self.assertEqual(response.status != 403, allowed, (method, pattern, scope, data[:200]))
                if not allowed and method != 'HEAD':
                    problem = json.loads(data)
                    self.assertIn('lacks the scope', problem['detail'])
                    self.conforms(problem, {'$ref': '/Problem'})
        self.assertGreater(n, 20)
        self.assertGreater(operate, 5)

    def test_strangers_learn_nothing(self):
        for method, path in (('GET', '/v1/nothing'), ('GET', '/v1/jobs?limit=x'), ('OPTIONS', '/v1/jobs'), ('PUT', '/v1/jobs'), ('GET', '/openapi.json')):
            self.assertEqual(self.status(method, path)[0].status, 401, (method, path))
        self.assertEqual(self.status('GET', '/v1/nothing', 'read')[0].status, 404)
        self.assertEqual(self.status('OPTIONS', '/v1/jobs', 'read')[0].status, 204)

    def test_forms(self):
        good = self.secret['read']
        for header in (good, 'Basic ' + good, 'Bearer', 'Bearer ', 'Bearer  ' + good, 'Bearer ' + good + ' ', 'Bearer ' + good[:-1], 'Bearer ' + good + 'x',
                       'Bearer ' + good.lower(), 'Token ' + good, 'Bearer ' + 'x' * 8000):
            response, _ = self.server.ask('GET', '/v1/jobs', headers={'Authorization': header})
            self.assertIn(response.status, (401, 429), header[:60])
        self.assertEqual(self.server.ask('GET', '/v1/jobs', headers={'Authorization': 'bearer ' + good})[0].status, 200)
        # with tokens a name of ours in the network is no danger
        self.assertEqual(self.server.ask('GET', '/v1/jobs', headers={'Host': 'seg.hospital.example', **self.bearer('read')})[0].status, 200)

    def test_guesses(self):
        """10,000 guesses: a handful are answered 401, the rest 429, and good tokens go on."""
        seen = {401: 0, 429: 0}
        connection = self.server.connect()
        for i in range(10000):
            connection.request('GET', '/v1/jobs', headers={'Authorization': f'Bearer msad_{i:044d}'})
            response = connection.getresponse()
            response.read()
            seen[response.status] += 1
            if response.status == 429:
                self.assertIsNotNone(response.getheader('Retry-After'))
        connection.close()
        self.assertLess(seen[401], 200)  # 10, and one more each 6 seconds of this test
        self.assertEqual(self.status('GET', '/v1/jobs', 'read')[0].status, 200)

    def until(self, secret, status):
        for _ in range(400):
            if self.server.ask('GET', '/v1/models', headers={'Authorization': 'Bearer ' + secret})[0].status == status:
                return
            time.sleep(0.05)
        self.fail(f'never {status}')

    def test_life(self):
        """Made, used and revoked while the service runs; a stream ends with its token."""
        root = self.server.dir
        secret = token(root, 'create', 'nurse', '--scope', 'read', '--days', '1').strip()
        self.assertRegex(secret, r'^msad_[A-Za-z0-9_-]{44}$')
        self.until(secret, 200)
        connection = self.server.connect()
        connection.request('GET', '/v1/events', headers={'Authorization': 'Bearer ' + secret})
        stream = connection.getresponse()
        self.assertEqual(stream.status, 200)
        self.assertIn('there is a token nurse already', token(root, 'create', 'nurse', '--scope', 'read', fails=True))
        token(root, 'revoke', 'nurse')
        self.until(secret, 401)
        stream.read()  # to its end
        connection.close()
        again = token(root, 'create', 'nurse', '--scope', 'operate').strip()
        self.until(again, 200)
        self.until(secret, 401)
        listed = token(root, 'list')
        self.assertIn('read,operate', listed)
        self.assertNotIn(again, listed)
        with open(root + '/tokens', encoding='ascii') as file:
            text = file.read()
        self.assertNotIn(again[5:], text)
        self.assertEqual(os.stat(root + '/tokens').st_mode & 0o777, 0o600)
        for words in ((), ('create',), ('create', 'x'), ('create', 'x', '--scope', 'root'), ('create', 'a b', '--scope', 'read'), ('create', 'x' * 41, '--scope', 'read'),
                      ('create', 'x', '--scope', 'read', '--days', '0'), ('revoke',), ('revoke', 'nobody'), ('list', 'x'), ('steal', 'x')):
            self.assertTrue(token(root, *words, fails=True))
        # an expiry in the past
        with open(root + '/tokens', 'w', encoding='ascii') as file:
            file.write(re.sub(r'(?m)^(nurse \S+ \S+ )(\d+) 0 0$', r'\1\2 1000 0', text))
        self.until(again, 401)
        # a damaged file opens nothing, a deleted one neither; repaired, all is as before
        for damage in ('nurse', text.replace('nurse', 'nu/rse'), text[:-20], '\0'):
            with open(root + '/tokens', 'w', encoding='ascii') as file:
                file.write(damage)
            self.until(self.secret['read'], 401)
        os.remove(root + '/tokens')
        time.sleep(0.5)
        self.assertIn(self.status('GET', '/v1/jobs')[0].status, (401, 429))
        with open(root + '/tokens', 'w', encoding='ascii') as file:
            file.write(text)
        self.until(self.secret['read'], 200)


class Start(unittest.TestCase):
    def test_other_addresses(self):
        """Reachable by others only with a token that can be used."""
        with self.assertRaises(RuntimeError):
            Server(env={'MSAD_HTTP_BIND': '0.0.0.0'})
        with self.assertRaises(RuntimeError):
            Server(env={'MSAD_HTTP_BIND': '0.0.0.0'}, prepare=lambda root: (token(root, 'create', 'a', '--scope', 'read'), token(root, 'revoke', 'a')))
        server = Server(env={'MSAD_HTTP_BIND': '0.0.0.0'}, prepare=lambda root: token(root, 'create', 'a', '--scope', 'read'))
        self.assertEqual(server.ask('GET', '/v1/jobs')[0].status, 401)
        self.assertEqual(server.ask('GET', '/healthz')[0].status, 200)
        self.assertEqual(server.stop(), 0)

    def test_guesses_by_address(self):
        """Also of those who come over IPv4 to a service on IPv6."""
        try:
            server = Server(env={'MSAD_HTTP_BIND': '::'}, prepare=lambda root: token(root, 'create', 'a', '--scope', 'read'))
        except RuntimeError:
            self.skipTest('this machine has no IPv6')

        def guess(address):
            connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=20, source_address=(address, 0))
            connection.request('GET', '/v1/jobs', headers={'Authorization': 'Bearer msad_' + 'A' * 44})
            status = connection.getresponse().status
            connection.close()
            return status

        for _ in range(400):
            if guess('127.0.0.1') == 429:
                break
        self.assertEqual(guess('127.0.0.2'), 401)
        self.assertEqual(server.stop(), 0)

    def test_rate(self):
        server = Server(env={'MSAD_HTTP_REQUESTS_PER_S': '5'})
        seen = [server.ask('GET', '/v1/models')[0].status for _ in range(60)]
        self.assertEqual(set(seen), {200, 429})
        self.assertEqual(seen[:5], [200] * 5)
        for _ in range(20):
            self.assertEqual(server.ask('GET', '/healthz')[0].status, 200)  # always
        self.assertEqual(server.stop(), 0)


if __name__ == '__main__':
    main()
