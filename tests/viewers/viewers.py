"""What the tests against viewers need: npm packages fetched once into the build folder, Node, Chromium, an Orthanc.

What is not there, be it a program or the npm registry, skips a test with a sentence that says so.
"""
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'integration'))
import harness  # noqa: E402  # pylint: disable=wrong-import-position

OUTPUT = os.path.join(harness.BUILD, 'tests', 'viewers')  # screenshots, and npm/ with what was fetched
NPM = os.path.join(OUTPUT, 'npm')
OHIF = '@ohif/app@3.13.2'  # the viewer ready to be served, in its package; package.json has the same version's readers
CHROMIUM = '/usr/bin/chromium'
DICOMWEB_PLUGIN = '/usr/share/orthanc/plugins/libOrthancDicomWeb.so'


def need(*programs):
    """Skips unless all are installed: names on the PATH, or files."""
    for program in programs:
        if not (os.path.exists(program) if '/' in program else shutil.which(program)):
            raise unittest.SkipTest('%s is not installed (scripts/packages)' % program)


def npm(*arguments):
    command = ['npm', *arguments, '--loglevel=error', '--no-audit', '--no-fund', '--ignore-scripts', '--fetch-retries=1',
               '--cache', os.path.join(NPM, 'cache')]
    try:
        done = subprocess.run(command, cwd=NPM, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest('the npm registry is too slow: %s' % ' '.join(arguments)) from None
    if done.returncode != 0:
        raise unittest.SkipTest('npm could not fetch packages (%s): %s' % (' '.join(arguments), ' '.join(done.stdout.split())[:200]))
    return done.stdout


def fetched(mark, fetch):
    """Runs fetch() unless a file says that it was done with the same text; one process at a time."""
    os.makedirs(NPM, exist_ok=True)
    with open(os.path.join(NPM, 'lock'), 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        name, text = mark
        path = os.path.join(NPM, name)
        if os.path.exists(path):
            with open(path, encoding='utf-8') as file:
                if file.read() == text:
                    return
        fetch()
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)


def packages():
    """node_modules as package-lock.json has them (106 MB)."""
    need('node', 'npm')
    with open(os.path.join(HERE, 'package-lock.json'), encoding='utf-8') as file:
        lock = file.read()

    def fetch():
        for name in ('package.json', 'package-lock.json'):
            shutil.copy(os.path.join(HERE, name), NPM)
        npm('ci')
    fetched(('packages-are-there', lock), fetch)


def ohif():
    """The folder of OHIF's files (204 MB, of a package of 50 MB). Its dependencies are bundled: only the package is fetched."""
    need('node', 'npm')
    folder = os.path.join(NPM, 'ohif')

    def fetch():
        name = npm('pack', OHIF).split()[-1]
        shutil.rmtree(folder, ignore_errors=True)
        with tarfile.open(os.path.join(NPM, name)) as archive:
            members = [m for m in archive.getmembers() if m.isfile() and m.name.startswith('package/dist/')
                       and '..' not in m.name.split('/') and not m.name.endswith('.map')]
            archive.extractall(folder, members)
        os.remove(os.path.join(NPM, name))
    fetched(('ohif-is-there', OHIF), fetch)
    return os.path.join(folder, 'package', 'dist')


def bundle(name):
    """A script of this folder with the packages that it imports, as one file for Node."""
    packages()
    made = os.path.join(NPM, name.replace('.mjs', '.cjs'))
    shutil.copy(os.path.join(HERE, name), NPM)  # packages are looked for beside the script
    harness.run_tool([os.path.join(NPM, 'node_modules/.bin/esbuild'), os.path.join(NPM, name), '--bundle', '--platform=node',
                      '--format=cjs', '--outfile=' + made, '--log-level=warning'])
    return made


class Browser:
    """A script of this folder that drives Chromium and says a JSON object a line."""

    def __init__(self, script, *arguments):
        packages()
        need(CHROMIUM)
        shutil.copy(os.path.join(HERE, script), NPM)  # packages are looked for beside it
        self.script, self.errors = script, tempfile.TemporaryFile('w+')
        # pylint: disable=consider-using-with  # ended by __exit__
        self.process = subprocess.Popen(['node', os.path.join(NPM, script), *map(str, arguments)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.limit = threading.Timer(4 * harness.DEADLINE_S, self.process.kill)
        self.limit.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.limit.cancel()
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def said(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.errors.seek(0)
        raise AssertionError('%s ended with %d:\n%s' % (self.script, status, self.errors.read()[-4000:]))

    def wait(self, step):
        said = self.said()
        assert said['step'] == step, said
        return said


class Orthanc:
    """A PACS with DICOMweb on loopback. Looks like a receiver to the service: ae_title, port."""

    def __init__(self, folder):
        need('Orthanc', DICOMWEB_PLUGIN)
        self.folder, self.ae_title = folder, 'PACS'
        self.port, self.http_port = harness.free_port(), harness.free_port()
        self.process = None

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, 'orthanc.json')
        with open(path, 'w', encoding='utf-8') as file:
            json.dump({'Name': 'PACS', 'StorageDirectory': self.folder, 'IndexDirectory': self.folder, 'HttpPort': self.http_port,
                       'RemoteAccessAllowed': False, 'AuthenticationEnabled': False, 'DicomAet': self.ae_title,
                       'DicomPort': self.port, 'DicomAlwaysAllowStore': True, 'UnknownSopClassAccepted': True,
                       'Plugins': [DICOMWEB_PLUGIN], 'DicomWeb': {'Enable': True, 'Root': '/dicom-web/'}}, file)
        with open(path + '.log', 'wb') as log:
            # pylint: disable=consider-using-with  # ended by stop()
            self.process = subprocess.Popen(['Orthanc', path], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        harness.until('Orthanc to listen', lambda: self.process.poll() is not None or
                      (harness.listening(self.port) and harness.listening(self.http_port)))
        assert self.process.poll() is None, 'Orthanc did not start: see %s.log' % path
        return self

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def json(self, path):
        with urllib.request.urlopen('http://127.0.0.1:%d%s' % (self.http_port, path), timeout=60) as answer:
            return json.load(answer)
