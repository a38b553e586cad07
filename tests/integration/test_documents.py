#!/usr/bin/python3
"""The documents that the program makes are those in docs/; man pages and completion know its commands and options."""
import os
import re
import shutil
import subprocess
import unittest

import harness

PROGRAMS = {'msad': '8', 'msa': '1'}


def read(*names):
    with open(os.path.join(harness.ROOT, *names), encoding='utf-8') as file:
        return file.read()


class Documents(unittest.TestCase):
    def run_program(self, *arguments, wanted=0):
        environment = {k: v for k, v in os.environ.items() if not k.startswith('MSAD_')}
        return harness.run_tool([os.path.join(harness.BUILD, arguments[0]), *arguments[1:]], wanted, env=environment).stdout

    def test_committed_as_they_are_made(self):
        self.maxDiff = None
        for name in ('settings', 'conformance'):
            self.assertEqual(self.run_program('msad', '--describe', name), read('docs', name + '.md'),
                             'run: build/msad --describe %s > docs/%s.md' % (name, name))
        self.assertIn('settings or conformance', self.run_program('msad', '--describe', 'else', wanted=64))

    def test_every_setting_is_described(self):
        described = set(re.findall(r'^\| `([a-z_.0-9]+)`', read('docs', 'settings.md'), re.M))
        section, printed = '', set()
        for line in self.run_program('msad', '--print-config').split('\n'):
            if re.match('[a-z]+:', line):
                section = line.split(':')[0]
            elif re.match('  [a-z_0-9]+:', line):
                printed.add('%s.%s' % (section, line.split(':')[0].strip()))
        self.assertTrue(printed)
        self.assertLessEqual(printed - {p for p in printed if p.startswith(('rules.', 'destinations.', 'sources.'))}, described)

    def test_statement_says_what_the_listener_takes(self):
        """Each SOP Class and transfer syntax of the statement is accepted by the real listener, and another is not."""
        text = read('docs', 'conformance.md')
        taken = re.findall(r'\| [^|]+ \| (1\.2\.840\.10008\.5\.1\.4\.1\.1\.[0-9.]+) \|', text.split('### 3.3')[0])
        syntaxes = re.findall(r'\| [^|]+ \| (1\.2\.840\.10008\.1\.2[0-9.]*) \|', text.split('### 3.3')[0])
        self.assertGreater(len(taken), 10)
        self.assertGreater(len(syntaxes), 15)
        import dul  # pylint: disable=import-outside-toplevel  # beside the harness
        import tempfile  # pylint: disable=import-outside-toplevel
        with tempfile.TemporaryDirectory() as folder:
            service = harness.Msad(folder).start()
            try:
                with dul.Peer(service.dicom_port) as peer:
                    contexts = [(uid, [dul.EXPLICIT_LE]) for uid in taken] + [(dul.CT_IMAGE, [s]) for s in syntaxes]
                    peer.associate(contexts + [('1.2.840.10008.5.1.4.1.1.6.1', [dul.EXPLICIT_LE]), (dul.CT_IMAGE, [dul.MPEG_2])])
                    results = [peer.results[2 * i + 1] for i in range(len(contexts) + 2)]
                    self.assertEqual(results[:-2], [0] * len(contexts))
                    self.assertNotIn(0, results[-2:])
                    peer.release()
            finally:
                self.assertEqual(service.stop(), 0)

    def test_pages_and_completion(self):
        for program, section in PROGRAMS.items():
            page = read('config', 'packaging', '%s.%s' % (program, section)).replace('\\', '')
            completion = read('config', 'packaging', program + '.bash-completion')
            usage = self.run_program(program, '--help')
            words = set(re.findall(r'(?<![\w-])--[a-z][a-z-]+', usage)) | set(re.findall(r'^  ([a-z]+) ', usage, re.M))
            for word in words:
                self.assertIn(word, completion, '%s: completion' % program)
                if program == 'msad' or not word.startswith('--'):
                    self.assertTrue(word in page or word == 'help', '%s: %s is not in the man page' % (program, word))
            if shutil.which('man'):
                said = subprocess.run(['man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z',
                                       os.path.join(harness.ROOT, 'config', 'packaging', '%s.%s' % (program, section))],
                                      capture_output=True, check=False, env=dict(os.environ, MANROFFSEQ=''))
                self.assertEqual((said.returncode, said.stderr), (0, b''))
        script = ('. %s; COMP_WORDS=(msad do); COMP_CWORD=1; _msad; echo "${COMPREPLY[*]}"' %
                  os.path.join(harness.ROOT, 'config', 'packaging', 'msad.bash-completion'))
        self.assertEqual(harness.run_tool(['bash', '-c', script]).stdout.strip(), 'doctor')


if __name__ == '__main__':
    harness.main()
