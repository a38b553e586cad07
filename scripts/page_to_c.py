#!/usr/bin/env python3
"""Turns the files of the dashboard into one C file: page_to_c.py OUT.c FILE...  What is served is what stands in the sources."""
import hashlib
import os
import sys

MEDIA = {'.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8'}


def main():
    out = ['/* Made from server/http/page by scripts/page_to_c.py; edit the files there. */', '#include "server/http/page.h"', '']
    rows = []
    for number, path in enumerate(sys.argv[2:]):
        name = os.path.basename(path)
        with open(path, 'rb') as file:
            data = file.read()
        out.append('static const unsigned char file_%d[] = {' % number)
        out.extend('    %s,' % ', '.join(map(str, data[at:at + 24])) for at in range(0, len(data), 24))
        out.append('};')
        rows.append('    {"/%s", "%s", file_%d, sizeof file_%d, "%s"},' %
                    ('' if name == 'index.html' else name, MEDIA[os.path.splitext(name)[1]], number, number, hashlib.sha256(data).hexdigest()))
    out += ['const srv_page_file srv_page_files[] = {', *rows, '};', '']
    with open(sys.argv[1], 'w', encoding='ascii') as file:
        file.write('\n'.join(out))


if __name__ == '__main__':
    main()
