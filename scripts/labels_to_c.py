#!/usr/bin/env python3
"""Turns config/labels.yaml into a C table.

usage: labels_to_c.py LABELS.yaml OUT.c     writes the table (at build time)
       labels_to_c.py --check LABELS.yaml   compares every code with pydicom's tables, and our reading with PyYAML's;
                                            exit 77 where neither module is there
"""
import re
import sys

HEX = re.compile(r'#[0-9a-f]{6}$')
LIMITS = {'value': 16, 'scheme': 16, 'meaning': 64}


class Bad(Exception):
    pass


def scalar_end(s, i):
    """The scalar that starts at s[i], and where it ends."""
    if s[i] == '"':
        j = s.index('"', i + 1)
        return s[i + 1:j], j + 1
    j = i
    while j < len(s) and s[j] not in ',]}':
        if s[j] == ':' and s[j + 1:j + 2] in (' ', ''):
            break
        j += 1
    return s[i:j].strip(), j


def flow(s, i):
    """A flow list, flow map or scalar."""
    if s[i] not in '[{':
        return scalar_end(s, i)
    close, out = (']', []) if s[i] == '[' else ('}', {})
    i += 1
    while True:
        while s[i] in ', ':
            i += 1
        if s[i] == close:
            return out, i + 1
        value, i = flow(s, i)
        if close == '}':
            if s[i] != ':':
                raise Bad('wanted ":" after %r' % value)
            while s[i] in ': ':
                i += 1
            out[value], i = flow(s, i)
        else:
            out.append(value)


def load(path):
    doc, part = {}, None
    for number, line in enumerate(open(path, encoding='ascii'), 1):
        line = line.rstrip('\n')
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        try:
            if re.match(r'[a-z]+:$', line):
                part = line[:-1]
                doc[part] = None
            elif line.startswith('  - '):
                doc[part] = (doc[part] or []) + [whole(line[4:])]
            elif re.match(r'  [a-z]+: ', line):
                key, rest = line.strip().split(': ', 1)
                doc[part] = dict(doc[part] or {}, **{key: whole(rest)})
            else:
                raise Bad('not a form that this script knows')
        except (Bad, IndexError, ValueError, KeyError, TypeError) as e:
            raise SystemExit('%s:%d: %s' % (path, number, e))
    return doc


def whole(text):
    value, end = flow(text, 0)
    if text[end:].strip():
        raise Bad('text after the value: %r' % text[end:])
    return value


def lab(colour):
    """sRGB to CIELab (D50 by Bradford, as ICC profiles have it) in DICOM's unsigned 16 bit, PS3.3 C.10.7.1.1."""
    if not HEX.match(colour):
        raise SystemExit('not a colour: %r' % colour)
    rgb = [int(colour[k:k + 2], 16) / 255 for k in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    x = (0.4360747 * r + 0.3850649 * g + 0.1430804 * b) / 0.9642
    y = 0.2225045 * r + 0.7168786 * g + 0.0606169 * b
    z = (0.0139322 * r + 0.0971045 * g + 0.7141733 * b) / 0.8251
    fx, fy, fz = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z))
    l, a, b = 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)
    scaled = (l * 65535 / 100, (a + 128) * 65535 / 255, (b + 128) * 65535 / 255)
    return [min(65535, max(0, int(v + 0.5))) for v in scaled]


def code(c):
    if len(c) != 3 or any(len(v) > n or not v for v, n in zip(c, LIMITS.values())):
        raise SystemExit('not a code: %r' % (c,))
    return '{"%s", "%s", "%s"}' % tuple(c)


def table(doc):
    out = ['/* Made from config/labels.yaml by scripts/labels_to_c.py. */', '#include "dicom/seg/codes.h"', '']
    entries = []
    for k, e in enumerate(doc['labels']):
        unknown = set(e) - {'globs', 'category', 'type', 'paired', 'colour'}
        if unknown:
            raise SystemExit('entry %d: unknown key %s' % (k + 1, sorted(unknown)))
        out.append('static const char *const globs_%d[] = {%s, NULL};' % (k, ', '.join('"%s"' % g for g in e['globs'])))
        entries.append('    {globs_%d, %s, %s, %s, {{%d, %d, %d}}},' % (
            k, code(doc['categories'][e['category']]), code(e['type']), 'true' if e.get('paired') == 'true' else 'false', *lab(e['colour'])))
    out += ['', 'const dicom_label dicom_labels[] = {'] + entries + ['};', 'const size_t dicom_labels_n = %d;' % len(entries), '']
    out += ['const dicom_colour dicom_palette[] = {'] + ['    {{%d, %d, %d}},' % tuple(lab(c)) for c in doc['palette']] + ['};']
    out += ['const size_t dicom_palette_n = %d;' % len(doc['palette']), '']
    return '\n'.join(out)


def strings(v):
    if isinstance(v, dict):
        return {str(k): strings(x) for k, x in v.items()}
    if isinstance(v, list):
        return [strings(x) for x in v]
    return {True: 'true', False: 'false'}.get(v, str(v)) if isinstance(v, bool) else str(v)


def check(path):
    doc, did = load(path), 0
    try:
        import yaml
        if strings(yaml.safe_load(open(path))) != doc:
            raise SystemExit('PyYAML reads %s in another way' % path)
        did = 1
    except ImportError:
        print('PyYAML is not there: our reading of the file was not compared')
    try:
        from pydicom.sr._concepts_dict import concepts
    except ImportError:
        print('pydicom is not there: the codes were not compared')
        return 0 if did else 77
    known = {(v, scheme, m[0]) for scheme, words in concepts.items() for values in words.values() for v, m in values.items()}
    codes = list(doc['categories'].values()) + [e['type'] for e in doc['labels']]
    wrong = [c for c in codes if tuple(c) not in known]
    for c in wrong:
        print('not in pydicom: %s' % c)
    print('%d codes compared with pydicom, %d wrong' % (len(codes), len(wrong)))
    return 1 if wrong else 0


def main():
    if len(sys.argv) == 3 and sys.argv[1] == '--check':
        sys.exit(check(sys.argv[2]))
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    text = table(load(sys.argv[1]))
    with open(sys.argv[2], 'w', encoding='ascii') as f:
        f.write(text)


if __name__ == '__main__':
    main()
