"""REST over TLS: versions and ciphers, client certificates, what is wrong with the files at the start."""
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import unittest

from http_case import Server, main
from test_auth import token


def openssl(folder, *words):
    subprocess.run(['openssl', *words], cwd=folder, check=True, capture_output=True, timeout=120)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = folder = tempfile.mkdtemp(prefix='msad-tls-')
        for name in ('server', 'ca', 'other'):
            openssl(folder, 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=' + name,
                    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', name + '.key', '-out', name + '.pem')
        openssl(folder, 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=client', '-keyout', 'client.key', '-out', 'client.csr')
        openssl(folder, 'x509', '-req', '-in', 'client.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-out', 'client.pem')
        for name in os.listdir(folder):
            os.chmod(f'{folder}/{name}', 0o600)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def settings(self, **more):
        env = {'CERTIFICATE': 'server.pem', 'KEY': 'server.key', **more}
        return {'MSAD_HTTP_TLS_' + k: f'{self.folder}/{v}' for k, v in env.items() if v}

    def context(self, client=None, version=None):
        context = ssl.create_default_context(cafile=self.folder + '/server.pem')
        if client:
            context.load_cert_chain(f'{self.folder}/{client}.pem', f'{self.folder}/{client}.key')
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def ask(self, server, path, context=None, headers=None):
        connection = http.client.HTTPSConnection('127.0.0.1', server.port, timeout=20, context=context or self.context())
        try:
            connection.request('GET', path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def test_versions(self):
        server = Server(env=self.settings())
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertEqual(self.ask(server, '/v1/jobs', self.context(version=version))[0], 200)
        old = self.context(version=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers('ALL:@SECLEVEL=0')
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.ask(server, '/v1/jobs', old)
        weak = self.context(version=ssl.TLSVersion.TLSv1_2)
        weak.set_ciphers('AES128-SHA256:AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0')  # no forward secrecy, or CBC
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.ask(server, '/v1/jobs', weak)
        self.assertNotIn(b'200', server.raw(b'GET /healthz HTTP/1.0\r\n\r\n'))  # plain HTTP
        job = server.jobs['succeeded'][0]
        self.assertEqual(len(self.ask(server, f'/v1/jobs/{job}/result')[1]), 3000011)  # a file, which sendfile cannot send here
        silent = socket.create_connection(('127.0.0.1', server.port))  # never says hello; others are served
        self.assertEqual(self.ask(server, '/healthz')[0], 200)
        silent.close()
        connection = http.client.HTTPSConnection('127.0.0.1', server.port, timeout=20, context=self.context())
        connection.request('GET', '/v1/events?after=0')
        stream = connection.getresponse()
        self.assertIn(b'event: start', stream.read(200))
        self.assertEqual(server.stop(), 0)
        connection.close()

    def test_client_certificates(self):
        server = Server(env={**self.settings(CLIENT_CA='ca.pem'), 'MSAD_HTTP_BIND': '0.0.0.0'})  # instead of tokens
        self.assertEqual(self.ask(server, '/v1/jobs', self.context('client'))[0], 200)
        self.assertEqual(self.ask(server, '/healthz')[0], 200)
        for client in (None, 'other'):  # none, and one that another has signed
            status, data = self.ask(server, '/v1/jobs', self.context(client))
            self.assertEqual(status, 403)
            self.assertIn(b'a client certificate is needed', data)
        secret = token(server.dir, 'create', 'both', '--scope', 'read').strip()  # from now on both
        for _ in range(400):
            if self.ask(server, '/v1/jobs', self.context('client'))[0] == 401:
                break
        bearer = {'Authorization': 'Bearer ' + secret}
        self.assertEqual(self.ask(server, '/v1/jobs', self.context('client'))[0], 401)
        self.assertEqual(self.ask(server, '/v1/jobs', self.context('client'), bearer)[0], 200)
        self.assertEqual(self.ask(server, '/v1/jobs', self.context(), bearer)[0], 403)
        self.assertEqual(server.stop(), 0)

    def refused(self, part, **files):
        with tempfile.TemporaryFile() as log:
            errors, os_stderr = log.fileno(), os.dup(2)
            os.dup2(errors, 2)
            try:
                with self.assertRaises(RuntimeError):
                    Server(env=self.settings(**files))
            finally:
                os.dup2(os_stderr, 2)
                os.close(os_stderr)
            log.seek(0)
            self.assertIn(part, log.read().decode())

    def test_start(self):
        self.refused('needs both http.tls_certificate and http.tls_key', KEY=None)
        self.refused('http.tls_key: ' + self.folder + '/none cannot be read: No such file', KEY='none')
        self.refused('are not a certificate and its key', KEY='other.key')
        self.refused('are not a certificate and its key', CERTIFICATE='client.csr')
        self.refused('http.tls_client_ca holds no certificate', CLIENT_CA='server.key')
        os.chmod(self.folder + '/ca.key', 0o644)
        self.refused('may be used by others than its owner; chmod 600', KEY='ca.key', CERTIFICATE='ca.pem')


if __name__ == '__main__':
    main()
