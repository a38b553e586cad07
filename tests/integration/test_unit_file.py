"""config/msad.service: how open systemd finds it (goal S6), and that it leaves the sandbox of the roles what it needs."""
import os
import re
import shutil
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNIT = os.path.join(ROOT, 'config', 'msad.service')


def analyze(*arguments):
    return subprocess.run(['systemd-analyze', '--no-pager', *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=True, text=True, env=dict(os.environ, LC_ALL='C.UTF-8')).stdout


def members(group):
    """The system calls of @group, and of the groups in it."""
    found = set()
    for name in analyze('syscall-filter', group).split('\n')[1:]:
        name = name.strip()
        if name.startswith('@'):
            found |= members(name)
        elif name and not name.startswith('#'):
            found.add(name)
    return found


class UnitFile(unittest.TestCase):

    def test_exposure(self):
        said = analyze('security', '--offline=true', UNIT)
        level = float(re.search(r'Overall exposure level for \S+: ([0-9.]+)', said).group(1))
        print('exposure level %.1f' % level)
        self.assertLessEqual(level, 1.5, said)

    def test_it_verifies(self):
        said = subprocess.run(['systemd-analyze', '--no-pager', 'verify', '--man=no', UNIT], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False).stdout
        # of a machine where msad is not installed systemd says that; nothing else may be wrong with our file
        wrong = [line for line in said.split('\n') if 'msad.service' in line and 'is not executable' not in line]
        self.assertEqual(wrong, [], said)

    def test_roles_can_lock_themselves_in_and_work(self):
        allowed = members('@default')
        with open(UNIT, encoding='utf-8') as unit:
            for line in re.findall(r'^SystemCallFilter=(.*)$', unit.read(), re.M):
                names = set()
                for name in line.lstrip('~').split():
                    names |= members(name) if name.startswith('@') else {name}
                allowed = allowed - names if line.startswith('~') else allowed | names
        with open(os.path.join(ROOT, 'server', 'roles', 'syscalls.c'), encoding='utf-8') as source:
            text = source.read()
        wanted = set()
        for table in ('basic', 'opening', 'writing', 'talking', 'of_threads'):
            body = re.search(r'static const int %s\[\] = \{(.*?)\};' % table, text, re.S).group(1)
            wanted |= set(re.findall(r'SCMP_SYS\((\w+)\)', body))
        self.assertGreater(len(wanted), 60)
        wanted |= {'seccomp', 'landlock_create_ruleset', 'landlock_add_rule', 'landlock_restrict_self', 'execve', 'clone'}
        self.assertEqual(wanted - allowed, set())


if __name__ == '__main__':
    if shutil.which('systemd-analyze') is None:
        print('skipped: there is no systemd-analyze')
        sys.exit(77)
    sys.exit(0 if unittest.main(exit=False, verbosity=2).result.wasSuccessful() else 1)
