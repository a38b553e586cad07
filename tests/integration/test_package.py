#!/usr/bin/python3
"""The Debian package: what is in it, and that it installs and works in a clean root. The second needs root, debootstrap and a
Debian mirror; where one is missing, it is skipped and says so."""
import functools
import os
import shutil
import subprocess
import tempfile
import unittest

import harness

# In a mount namespace of its own, so that nothing stays mounted whatever happens.
INSIDE = '''set -e
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
'''


def mirror():
    """The one that this machine installs from."""
    said = subprocess.run(['apt-get', 'indextargets', '--format', '$(SITE)', 'Created-By: Packages'], capture_output=True,
                          text=True, check=False).stdout.split()
    return [s for s in said if '/debian' in s and 'security' not in s][0] if said else None


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='msad-package-')
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)

    def setUp(self):
        if not shutil.which('dpkg-shlibdeps'):
            self.skipTest('dpkg-shlibdeps is not there: install dpkg-dev')

    @classmethod
    @functools.lru_cache
    def build(cls, name='out'):
        """Once of each name: compressing takes its time."""
        out = os.path.join(cls.folder, name)
        os.makedirs(out)
        said = harness.run_tool([os.path.join(harness.ROOT, 'scripts', 'deb'), '--build', harness.BUILD, '--out', out])
        return said.stdout.strip().split('\n')[-1]

    def test_contents(self):
        package = self.build()
        listed = harness.run_tool(['dpkg-deb', '--contents', package]).stdout
        paths = {line.split()[5] for line in listed.split('\n') if line}
        for path in ('/usr/bin/msad', '/usr/bin/msa', '/usr/share/msad/models/default.safetensors', '/etc/msad/msad.yaml',
                     '/lib/systemd/system/msad.service', '/usr/lib/sysusers.d/msad.conf', '/usr/lib/tmpfiles.d/msad.conf',
                     '/usr/share/man/man8/msad.8.gz', '/usr/share/man/man1/msa.1.gz', '/usr/share/msad/grafana-dashboard.json',
                     '/usr/share/bash-completion/completions/msad', '/usr/share/doc/msad/conformance.md',
                     '/usr/share/doc/msad/copyright'):
            self.assertIn('.' + path, paths)
        for line in listed.split('\n'):
            if line:
                self.assertEqual(line.split()[1], 'root/root', line)
                self.assertNotEqual(line[5:6] + line[8:9], 'ww', line)
        fields = harness.run_tool(['dpkg-deb', '--field', package, 'Package', 'Version', 'Depends']).stdout
        for words in ('Package: msad', 'libdcmtk17', 'libmicrohttpd12', 'curl'):
            self.assertIn(words, fields)
        with open(package, 'rb') as one, open(self.build('again'), 'rb') as two:
            self.assertEqual(one.read(), two.read(), 'the same files make the same package')

    def inside(self, root, *command, wanted=0):
        done = subprocess.run(['unshare', '--mount', 'sh', '-c', INSIDE, 'sh', root, *command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace', check=False,
                              env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'DEBIAN_FRONTEND': 'noninteractive', 'LC_ALL': 'C'},
                              timeout=1500)
        self.assertEqual(done.returncode, wanted, '%s:\n%s' % (' '.join(command), done.stdout[-4000:]))
        return done.stdout

    def clean_root(self):
        if os.geteuid() != 0:
            self.skipTest('a clean root needs root')
        if not shutil.which('debootstrap'):
            self.skipTest('debootstrap is not there: install it')
        site, root = mirror(), os.path.join(self.folder, 'root')
        if site is None or subprocess.run(['curl', '-fsS', '-m', '20', '-o', '/dev/null', site + '/dists/bookworm/Release'],
                                          check=False).returncode != 0:
            self.skipTest('no Debian mirror can be reached')
        os.makedirs(os.path.join(root, 'proc'))
        if subprocess.run(['unshare', '--mount', 'mount', '-t', 'proc', 'proc', os.path.join(root, 'proc')], check=False).returncode != 0:
            self.skipTest('nothing may be mounted here')
        done = subprocess.run(['debootstrap', '--variant=minbase', 'bookworm', root, site], capture_output=True, text=True,
                              errors='replace', check=False, timeout=1500)
        if done.returncode != 0:
            self.skipTest('debootstrap did not get through: ' + done.stdout[-300:])
        shutil.copy('/etc/resolv.conf', os.path.join(root, 'etc'))
        return root

    def test_installed_in_a_clean_root(self):
        package = self.build()
        root = self.clean_root()
        shutil.copy(package, os.path.join(root, 'msad.deb'))
        self.inside(root, 'sh', '-c', 'apt-get update -q && apt-get install -qq -y --no-install-recommends /msad.deb')
        self.assertIn('msad', self.inside(root, 'stat', '-c', '%U %a', '/var/lib/msad'))
        self.assertIn('the settings are good', self.inside(root, 'msad', '--config', '/etc/msad/msad.yaml', '--check-config'))
        # As its own user: the whole way of a phantom, then as the service, which is asked how it fares.
        ports = 'MSAD_STORAGE_PATH=/var/lib/msad/data MSAD_DICOM_PORT=%d MSAD_HTTP_PORT=%d' % (harness.free_port(), harness.free_port())
        as_user = 'cd /var/lib/msad; export %s; ' % ports

        def run(command):
            return self.inside(root, 'setpriv', '--reuid=msad', '--regid=msad', '--clear-groups', 'sh', '-c', as_user + command)
        self.assertIn('all is well', run('msad --config /etc/msad/msad.yaml doctor'))
        said = run('msad --config /etc/msad/msad.yaml 2>/var/lib/msad/log & n=0; '
                   'until msad status >/tmp/status; do n=$((n+1)); [ $n -lt 600 ] || break; sleep 0.2; done; '
                   'cat /tmp/status; kill $!; wait $!; echo "ended $?"')
        self.assertIn('msad         ready', said)
        self.assertIn('ended 0', said)
        self.inside(root, 'apt-get', 'purge', '-qq', '-y', 'msad')
        self.assertFalse(os.path.exists(os.path.join(root, 'usr/bin/msad')))
        self.assertFalse(os.path.exists(os.path.join(root, 'etc/msad')))
        self.assertTrue(os.path.exists(os.path.join(root, 'var/lib/msad/data/catalogue.sqlite')), 'what it holds stays')


if __name__ == '__main__':
    harness.main()
