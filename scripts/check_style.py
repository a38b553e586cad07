#!/usr/bin/python3
"""The rules of style that a machine can read off the sources. Runs as tests of suite `style`.

usage: check_style.py [sources]            who includes whom, file length, unfinished marks, run bits
       check_style.py headers CC CXX       every public header compiles alone, as C and (dicom/) as C++
       check_style.py self-test            the checks find what they are for

Prints one line per finding, `path:line: sentence`; exit status 0 or 1.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ('engine', 'dicom', 'server', 'tests', 'scripts', 'config', '.ci')
CODE = ('.c', '.h', '.cc', '.cpp', '.hpp')
TEXT = CODE + ('.py', '.sh', '.build', '.sql', '.yaml')
LINES_MAX = 700
MARKS = re.compile(r'\b(%s)\b' % '|'.join(('TO' 'DO', 'FIX' 'ME', 'XX' 'X')))  # split: this file is read too
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')

C_AND_POSIX = set('''
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
stdbool stddef stdint stdio stdlib stdnoreturn string strings threads time uchar wchar wctype
aio alloca cpuid dirent dlfcn endian byteswap err execinfo fcntl fnmatch ftw getopt glob grp iconv ifaddrs arm_neon immintrin xmmintrin emmintrin
netdb poll pthread pwd regex sched semaphore spawn sysexits syslog termios unistd utime malloc libgen link elf
'''.split())
SYSTEM_FOLDERS = ('sys/', 'linux/', 'netinet/', 'arpa/', 'net/', 'asm/', 'bits/')

# Third-party header, as it is written in an include, to its short name.
THIRD = (('uv.h', 'uv'), ('uv/', 'uv'), ('microhttpd.h', 'mhd'), ('gnutls/', 'mhd'), ('sqlite3.h', 'sqlite'), ('yaml.h', 'yaml'),
         ('jansson.h', 'jansson'), ('png.h', 'png'), ('zlib.h', 'zlib'), ('openssl/', 'openssl'), ('cblas.h', 'blas'),
         ('openblas', 'blas'), ('dcmtk/', 'dcmtk'), ('openjpeg.h', 'openjpeg'), ('nifti/', 'nifti'), ('seccomp.h', 'seccomp'),
         ('cmocka.h', 'cmocka'))


# C++ for dicom/*.cc only, though it lies beside the public headers: where exceptions end.
CXX_HEADERS = {'dicom/guard.h'}


def kind(path):
    """Which row of the table a file stands in."""
    if path in CXX_HEADERS:
        return 'dicom'
    if path.startswith('engine/base/'):
        return 'engine/base'
    if path.startswith('dicom/') and path.endswith('.h') and path.count('/') == 1:
        return 'dicom/*.h'
    return path.split('/')[0]


# Row: the project's prefixes it may include, the third-party libraries, whether it may use C++.
TABLE = {
    'engine/base': (('engine/base/',), {'openssl', 'blas'}, False),
    'engine': (('engine/',), {'blas', 'jansson', 'nifti'}, False),
    'dicom/*.h': (('dicom/', 'engine/base/'), set(), False),
    'dicom': (('dicom/', 'engine/base/'), {'dcmtk', 'openjpeg', 'openssl', 'zlib'}, True),
    'server': (('server/', 'engine/', 'dicom/'), {'uv', 'mhd', 'sqlite', 'yaml', 'jansson', 'png', 'zlib', 'seccomp'}, False),
    'tests': (('engine/', 'dicom/', 'server/', 'tests/'),
              {'cmocka', 'dcmtk', 'openjpeg', 'uv', 'mhd', 'sqlite', 'yaml', 'jansson', 'png', 'zlib', 'openssl', 'blas'}, True),
}
# Libraries that only some files of a row may include: the row, the library, what their path begins with.
ONLY = (('engine/base', 'openssl', ('engine/base/hash.c',)),
        ('engine/base', 'blas', ('engine/base/pool.c',)),  # the one place where threads are set, OpenBLAS's too
        ('dicom', 'openssl', ('dicom/net/t',)),  # tls and the transport under it
        ('engine', 'jansson', ('engine/io/',)),
        ('engine', 'nifti', ('engine/io/nifti.c',)),
        ('server', 'seccomp', ('server/roles/', 'server/core/role.c')))


def is_private(header):
    """Private: in a room below engine/ or dicom/ (engine/base excepted)."""
    return header in CXX_HEADERS or (header.startswith(('engine/', 'dicom/')) and header.count('/') > 1
            and not header.startswith('engine/base/'))


def third_party(header):
    for start, name in THIRD:
        if header == start or (start.endswith('/') or start == 'openblas') and header.startswith(start):
            return name
    return None


def own_headers(path, exists):
    """Headers that describe this file: beside it, or public in its top folder, by the same name."""
    stem, extension = os.path.splitext(path)
    if extension not in ('.c', '.cc', '.cpp'):
        return []
    top = path.split('/')[0]
    return [h for h in (stem + '.h', '%s/%s.h' % (top, os.path.basename(stem))) if exists(h)]


def check_includes(path, text, exists):
    row = kind(path)
    if row not in TABLE:
        return
    prefixes, libraries, cplusplus = TABLE[row]
    own = own_headers(path, exists)
    first = True
    folders = set()
    for number, line in enumerate(text.split('\n'), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, header = match.group(1) == '"', match.group(2)
        if first and own and row != 'tests' and header not in own:
            yield number, 'the first include is not its own header "%s"' % own[0]
        first = False
        library = third_party(header)
        if quoted and library is None:
            if not exists(header):
                yield number, '"%s" is not written from the root, or does not exist' % header
            elif not header.startswith(prefixes):
                yield number, '%s may not include "%s"' % (row, header)
            elif is_private(header):
                if row == 'tests':
                    folders.add(header.split('/')[0])
                elif header.split('/')[0] != path.split('/')[0]:
                    yield number, '"%s" is private to %s/' % (header, header.split('/')[0])
                elif row == 'dicom/*.h' or (row == 'engine' and path.endswith('.h') and path.count('/') == 1):
                    yield number, 'a public header may not include the private "%s"' % header
        elif library is not None:
            only = [starts for r, name, starts in ONLY if (r, name) == (row, library)]
            if library not in libraries or (only and not path.startswith(only[0])):
                yield number, '%s may not include <%s>' % (path if only else row, header)
        elif '.' not in header:
            guarded = path.endswith('.h') and '__cplusplus' in text
            if not cplusplus or (path.endswith('.c') or (guarded and row == 'dicom/*.h')):
                yield number, 'a C file may not include the C++ header <%s>' % header
        elif header[:-2] not in C_AND_POSIX and not header.startswith(SYSTEM_FOLDERS):
            yield number, '<%s> is not in the table of scripts/check_style.py; add it on purpose' % header
    if len(folders) > 1:  # rooms of one folder build on one another, so a layer's test may need its kernel
        yield 1, 'a test looks into the private headers of one folder, not of %s' % ' and '.join(sorted(folders))


def check_text(path, text):
    lines = text.split('\n')
    if path.endswith(CODE + ('.py',)) and len(lines) - 1 > LINES_MAX:
        yield LINES_MAX, '%d lines; over %d a file no longer tells one idea' % (len(lines) - 1, LINES_MAX)
    for number, line in enumerate(lines, 1):
        if MARKS.search(line):
            yield number, 'an unfinished mark: finish it, or open an issue'
        if line != line.rstrip():
            yield number, 'blanks at the end of the line'
        if '\t' in line and not path.startswith('.git'):
            yield number, 'a tab'
    if text and not text.endswith('\n'):
        yield len(lines), 'no newline at the end of the file'


def check_run_bit(path, text, mode):
    if text.startswith('#!') and not mode & 0o111:
        yield 1, 'begins with #! but has no run bit (chmod +x)'
    if mode & 0o111 and not text.startswith('#!'):
        yield 1, 'has a run bit but no #! line'


def source_files():
    for folder in FOLDERS:
        for where, folders, names in os.walk(os.path.join(ROOT, folder)):
            folders[:] = sorted(f for f in folders if f != '__pycache__')
            for name in sorted(names):
                path = os.path.relpath(os.path.join(where, name), ROOT)
                if path.endswith(TEXT) or path.startswith(('scripts/', '.ci/')):
                    if not path.endswith('.pyc'):
                        yield path


def check_sources():
    found = 0
    count = 0

    def exists(header):
        return os.path.isfile(os.path.join(ROOT, header))

    for path in source_files():
        full = os.path.join(ROOT, path)
        with open(full, encoding='utf-8') as file:
            text = file.read()
        count += 1
        findings = list(check_text(path, text)) + list(check_run_bit(path, text, os.stat(full).st_mode))
        if path.endswith(CODE):
            findings += check_includes(path, text, exists)
        for number, sentence in findings:
            print('%s:%d: %s' % (path, number, sentence))
            found += 1
    for path in ('scripts/run', 'scripts/test', '.ci/run'):
        if not os.access(os.path.join(ROOT, path), os.X_OK):
            print('%s:1: is missing or has no run bit' % path)
            found += 1
    print('%d files, %d findings' % (count, found))
    return found


def check_headers(cc, cxx):
    """A header that needs another one before it would break its first user, not its author."""
    headers = []
    for folder in ('engine', 'engine/base', 'dicom'):
        headers += ['%s/%s' % (folder, n) for n in sorted(os.listdir(os.path.join(ROOT, folder))) if n.endswith('.h')]
    headers = [h for h in headers if h not in CXX_HEADERS]
    for where, _, names in os.walk(os.path.join(ROOT, 'server')):
        headers += [os.path.relpath(os.path.join(where, n), ROOT) for n in sorted(names) if n.endswith('.h')]
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        for header in headers:
            runs = [(cc.split(), 'c', '-std=gnu17')]
            if header.startswith('dicom/'):
                runs.append((cxx.split(), 'cc', '-std=c++17'))
            for compiler, extension, standard in runs:
                unit = os.path.join(temporary, 'alone.' + extension)
                with open(unit, 'w', encoding='utf-8') as file:
                    file.write('#include "%s"\n#include "%s"\n' % (header, header))  # twice: the guard
                done = subprocess.run(compiler + [standard, '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-fsyntax-only',
                                                  '-I' + ROOT, unit], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    print('%s: does not compile alone as %s:\n%s' % (header, extension, done.stderr))
                    failed += 1
    print('%d headers, %d findings' % (len(headers), failed))
    return failed


def self_test():
    """Each rule, on a text that breaks it and on one that keeps it."""
    there = {'dicom/guard.h', 'engine/model.h', 'engine/base/error.h', 'engine/sam/block.h', 'dicom/series.h', 'dicom/net/pdv.h',
             'server/store/store.h', 'engine/io/safetensors.h', 'server/http/status.h'}
    cases = (
        ('engine/base/log.c', '#include <uv.h>', 1), ('engine/base/log.c', '#include <unistd.h>', 0),
        ('engine/base/hash.c', '#include <openssl/evp.h>', 0), ('engine/base/log.c', '#include <openssl/evp.h>', 1),
        ('engine/sam/vit.c', '#include <cblas.h>', 0), ('server/jobs/tick.c', '#include <cblas.h>', 1),
        ('engine/sam/vit.c', '#include "dicom/series.h"', 1), ('engine/volume/resize.c', '#include <jansson.h>', 1),
        ('engine/io/safetensors.c', '#include "engine/io/safetensors.h"\n#include <jansson.h>', 0),
        ('engine/io/safetensors.c', '#include <jansson.h>\n#include "engine/io/safetensors.h"', 1),
        ('dicom/series.h', '#include <vector>', 1), ('dicom/net/x.cc', '#include <vector>', 0),
        ('dicom/series.h', '#include "dcmtk/config/osconfig.h"', 1),
        ('dicom/net/x.cc', '#include "dcmtk/config/osconfig.h"', 0),
        ('dicom/net/x.cc', '#include "engine/model.h"', 1), ('dicom/net/x.cc', '#include "engine/base/error.h"', 0),
        ('server/http/x.c', '#include "engine/sam/block.h"', 1), ('server/http/x.c', '#include "engine/model.h"', 0),
        ('server/http/x.c', '#include "dcmtk/dcmdata/dctk.h"', 1), ('server/http/x.c', '#include "status.h"', 1),
        ('server/http/x.c', '#include <notknown.h>', 1), ('server/http/x.c', '#include "dicom/guard.h"', 1),
        ('dicom/guard.h', '#include <new>', 0),
        ('tests/unit/a.c', '#include "engine/sam/block.h"\n#include "engine/model.h"', 0),
        ('tests/unit/a.c', '#include "engine/sam/block.h"\n#include "dicom/net/pdv.h"', 1),
        ('tests/unit/a.c', '#include "engine/sam/block.h"\n#include "dicom/net/pdv.h"', 1),
    )
    bad = 0
    for path, text, wanted in cases:
        got = list(check_includes(path, text + '\n', there.__contains__))
        if len(got) != wanted:
            print('%s with %r: wanted %d findings, got %s' % (path, text, wanted, got))
            bad += 1
    for text, wanted in (('a\n' * LINES_MAX, 0), ('a\n' * (LINES_MAX + 1), 1), ('/* TO' 'DO */\n', 1), ('a \n', 1), ('a', 1)):
        if len(list(check_text('server/a.c', text))) != wanted:
            print('text rule: wanted %d findings in %r' % (wanted, text[:20]))
            bad += 1
    for text, mode, wanted in (('#!/bin/sh\n', 0o644, 1), ('#!/bin/sh\n', 0o755, 0), ('int a;\n', 0o755, 1)):
        if len(list(check_run_bit('scripts/a', text, mode))) != wanted:
            print('run bit rule: wanted %d for %r %o' % (wanted, text, mode))
            bad += 1
    print('%d cases, %d wrong' % (len(cases) + 8, bad))
    return bad


def main(arguments):
    if arguments[:1] == ['headers'] and len(arguments) == 3:
        return 1 if check_headers(arguments[1], arguments[2]) else 0
    if arguments == ['self-test']:
        return 1 if self_test() else 0
    if arguments in ([], ['sources']):
        return 1 if check_sources() else 0
    print(__doc__)
    return 2


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
