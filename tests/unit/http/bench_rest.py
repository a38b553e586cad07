"""How many requests a second REST answers, over 16 connections (goal: 5,000 of the status of a job). Needs ab (apache2-utils)."""
import re
import shutil
import subprocess
import sys

from http_case import SERVE, Server

if not shutil.which('ab'):
    print('ab is not installed (apache2-utils)')
    sys.exit(77)
SERVE.append(sys.argv[1])
server = Server(env={'MSAD_HTTP_REQUESTS_PER_S': '0'})
for what, path in (('health', '/healthz'), ('readiness', '/readyz'), ('a job', '/v1/jobs/' + server.jobs['succeeded'][0]), ('eight jobs', '/v1/jobs')):
    said = subprocess.run(['ab', '-q', '-k', '-n', '20000', '-c', '16', f'http://127.0.0.1:{server.port}{path}'], capture_output=True, text=True,
                          check=True, timeout=300).stdout
    assert 'Non-2xx' not in said, said
    rate, late = re.search(r'Requests per second: +([\d.]+)', said)[1], re.search(r'99% +(\d+)', said)[1]
    print(f'{what:12s} {float(rate):9.0f} requests/s, 99 of 100 within {late} ms')
assert server.stop() == 0
