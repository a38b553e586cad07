"""What the built programs are made of: goal S7, read off the ELF files and off the commands that made them."""
import json
import os
import re
import subprocess
import sys
import unittest

BUILD = os.environ['MSAD_BUILD']
PROGRAMS = [os.path.join(BUILD, name) for name in ('msad', 'msa')]


def readelf(*arguments):
    return subprocess.run(['readelf', '--wide', *arguments], stdout=subprocess.PIPE, check=True, text=True,
                          errors='replace').stdout


class Hardening(unittest.TestCase):

    def test_programs_can_lie_anywhere(self):
        for program in PROGRAMS:
            self.assertRegex(readelf('-h', program), r'Type:\s+DYN', program)
            self.assertRegex(readelf('-d', program), r'FLAGS_1.*\bPIE\b', program)

    def test_what_the_linker_fills_in_is_read_only_afterwards(self):
        for program in PROGRAMS:
            self.assertIn('GNU_RELRO', readelf('-l', program), program)
            self.assertRegex(readelf('-d', program), r'FLAGS_1.*\bNOW\b', program)
            self.assertNotIn('TEXTREL', readelf('-d', program), program)

    def test_nothing_is_both_written_and_run(self):
        for program in PROGRAMS:
            segments = re.findall(r'^\s+(LOAD|GNU_STACK)\s.*?\s([R ][W ][E ])\s+0x', readelf('-l', program), re.M)
            self.assertIn('GNU_STACK', dict(segments), program)
            for kind, rights in segments:
                self.assertFalse('W' in rights and 'E' in rights, '%s: %s of %s' % (kind, rights, program))

    def test_no_library_is_looked_for_in_odd_places(self):
        for program in PROGRAMS:
            for folders in re.findall(r'\((?:RPATH|RUNPATH)\).*\[(.*)\]', readelf('-d', program)):
                for folder in folders.split(':'):  # OpenBLAS has one of its own, which is the system's
                    self.assertRegex(folder, r'^/usr/lib/', program)

    def test_stacks_and_copies_are_checked(self):
        for program in PROGRAMS:
            symbols = readelf('--dyn-syms', program)
            self.assertIn('__stack_chk_fail', symbols, program)
            if os.environ.get('MSAD_FORTIFIED'):
                self.assertRegex(symbols, r'__(memcpy|snprintf|vsnprintf)_chk', program)

    def test_nothing_tells_where_or_when_it_was_built(self):
        """Paths and dates are how two builds of the same sources differ."""
        for program in PROGRAMS:
            text = readelf('-p', '.rodata', program)
            self.assertNotIn(os.path.dirname(BUILD) + '/', text, program)
            self.assertNotRegex(text, r'\] +(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 0-9]\d \d{4}$', program)  # __DATE__

    def test_every_source_was_compiled_so(self):
        with open(os.path.join(BUILD, 'compile_commands.json'), encoding='utf-8') as file:
            commands = json.load(file)
        wanted = ['-fstack-protector-strong', '-fPIE']
        if os.environ['MSAD_CPU'] == 'x86_64':
            wanted += ['-fcf-protection=full', '-fstack-clash-protection']
        if os.environ.get('MSAD_FORTIFIED'):
            wanted += ['-D_FORTIFY_SOURCE=3']
        self.assertGreater(len(commands), 100)
        for command in commands:
            words = command['command'].split()
            for flag in wanted:
                # a shared module is PIC in place of PIE
                self.assertTrue(flag in words or flag == '-fPIE' and '-fPIC' in words,
                                '%s lacks %s' % (command['file'], flag))


if __name__ == '__main__':
    program = unittest.main(exit=False, verbosity=2)
    sys.exit(0 if program.result.wasSuccessful() else 1)
