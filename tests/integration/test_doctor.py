#!/usr/bin/python3
"""msad doctor finds what is wrong and says what to do about it; msad status says how the service fares."""
import http.server
import os
import socket
import ssl
import subprocess
import threading

import harness

PROGRAM = os.path.join(harness.BUILD, 'msad')


class Listener(http.server.BaseHTTPRequestHandler):
    """Answers who has a token with {}, and remembers which it was shown."""

    def do_GET(self):
        self.server.tokens.append(self.headers['Authorization'])
        known = self.headers['Authorization'] is not None
        body = b'{}' if known else b'{"detail": "a token is needed"}'
        self.send_response(200 if known else 401)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Doctor(harness.Case):
    def run_doctor(self, wanted, command='doctor', **settings):
        """Its lines as (verdict, step, text), and each remedy."""
        scratch = self.path('scratch')
        os.makedirs(scratch, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith('MSAD_')}
        environment.update({'TMPDIR': scratch, 'MSAD_STORAGE_PATH': self.path('data'), 'MSAD_WORK_THREADS': '1',
                            'MSAD_DICOM_PORT': str(harness.free_port()), 'MSAD_HTTP_PORT': str(harness.free_port())})
        environment.update({'MSAD_' + k.upper(): str(v) for k, v in settings.items()})
        said = harness.run_tool([PROGRAM, command], wanted, env=environment).stdout
        self.assertEqual(os.listdir(scratch), [], 'nothing is left behind')
        self.assertNotIn('PHANTOM^OF', said)
        return said

    def failed(self, said, step, *words):
        rows = said.split('\n')
        at = [i for i, row in enumerate(rows) if row.startswith('FAIL  ' + step)]
        self.assertEqual(len(at), 1, said)
        self.assertIn('remedy: ', rows[at[0] + 1])
        for word in words:
            self.assertIn(word, rows[at[0]] + rows[at[0] + 1], said)

    def test_all_is_well(self):
        receiver = self.receiver()
        said = self.run_doctor(0, destinations='demo=DEMO@127.0.0.1:%d' % receiver.port)
        steps = [row[6:20].strip() for row in said.split('\n') if row.startswith('ok ')]
        self.assertEqual(steps, ['settings', 'storage', 'dicom port', 'http port', 'destination', 'model', 'listener', 'rest',
                                 'engine', 'writer', 'way back', 'stop'])
        self.assertIn('all is well', said)
        self.assertEqual(receiver.files(), [], 'a real destination gets no phantom')
        self.assertFalse(os.path.exists(self.path('data')), 'nor does the real storage')

    def test_what_is_wrong_is_told_with_its_remedy(self):
        with socket.socket() as other:
            other.bind(('127.0.0.1', 0))
            other.listen(1)
            taken = other.getsockname()[1]
            said = self.run_doctor(1, dicom_port=taken, http_port=1, http_bind='127.0.0.1',
                                   destinations='pacs=PACS@127.0.0.1:%d' % harness.free_port(),
                                   storage_path='/proc/no/such/folder', model_path=self.path('no-model.safetensors'))
        self.failed(said, 'dicom port', str(taken), 'ss -ltnp', 'dicom.port')
        self.failed(said, 'destination', 'pacs (PACS@127.0.0.1', 'AE title MSAD')
        self.failed(said, 'storage', '/proc/no/such/folder', 'storage.path')
        self.failed(said, 'model', 'no-model.safetensors', 'model.path')
        if os.geteuid() != 0:
            self.failed(said, 'http port', 'CAP_NET_BIND_SERVICE')

    def test_a_model_that_finds_nothing_is_told(self):
        said = self.run_doctor(1, model_path=harness.untrained_model())
        self.failed(said, 'engine', 'ml', 'model.path')
        self.assertIn('ok    way back', said)

    def test_bad_settings(self):
        self.assertIn('MSAD_DICOM_PORT', harness.run_tool([PROGRAM, 'doctor'], 78, env=dict(os.environ, MSAD_DICOM_PORT='x')).stdout)

    def test_beside_a_service_that_runs_and_its_status(self):
        receiver = self.receiver(start=False)
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('delivering')
        service.echo(aec='WRONG', wanted=1)
        settings = {k[5:]: v for k, v in service.environment.items() if k.startswith('MSAD_')}
        receiver.start()
        said = self.run_doctor(0, **settings)
        self.assertIn('ok    service        runs on this storage and is ready', said)
        job = service.wait_job('succeeded')
        self.assertEqual([j['id'] for j in service.jobs()], [job['id']], 'the phantom did not come here')
        said = self.run_doctor(0, 'status', **settings)
        for words in ('msad         ready at http://127.0.0.1:%d' % service.http_port, '1 succeeded',
                      'destination  demo  DEMO@127.0.0.1:%d' % receiver.port, 'refused ', '"WRONG"'):
            self.assertIn(words, said)
        service.stop()
        self.assertIn('no service answers', self.run_doctor(69, 'status', **settings))

    def test_a_token_is_for_the_service_alone(self):
        """Who has its address but not its key is told nothing; the name in the certificate does not matter there."""
        def certificate(name):
            files = [self.path(name + end) for end in ('.pem', '.key')]
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=' + name,
                            '-addext', 'subjectAltName=DNS:' + name, '-out', files[0], '-keyout', files[1]], check=True, capture_output=True, timeout=60)
            return files
        ours, other = certificate('msad.example'), certificate('localhost')
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*ours)
        with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Listener) as server:
            server.tokens = []
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            port = server.server_address[1]
            settings = {'token': 'secret', 'http_port': port}
            self.assertIn('ready', self.run_doctor(0, 'status', http_tls_certificate=ours[0], **settings))
            self.assertEqual(set(server.tokens), {'Bearer secret'})
            said = self.run_doctor(1, 'status', http_port=port, http_tls_certificate=ours[0])
            self.assertIn('REFUSES TO TELL at https://127.0.0.1:%d: a token is needed' % port, said)
            self.assertIn('set MSAD_TOKEN', said)
            server.tokens.clear()
            self.assertIn('another certificate', self.run_doctor(69, 'status', http_tls_certificate=other[0], **settings))
            self.assertIn('cannot be read', self.run_doctor(69, 'status', http_tls_certificate=self.path('none'), **settings))
            for trusted in ({}, {'http_tls_certificate': ours[0]}, {'http_tls_certificate': other[0]}):  # an address of its own: by name
                self.run_doctor(69, 'status', url='https://localhost:%d' % port, **trusted, **settings)
            self.assertEqual(server.tokens, [])
            server.shutdown()


if __name__ == '__main__':
    harness.main()
