#!/usr/bin/env python3
"""Turns the numbered steps of config/schema into one C file: sql_to_c.py OUT.c 0001_name.sql 0002_name.sql ...

The steps are taken in the order of their numbers; the n-th leads to user_version n. Once a step has shipped, nothing
is put before it. Several people who add steps at one time agree on their numbers beforehand, so a hole is no error.
"""
import os
import re
import sys


def c_string(text):
    lines = []
    for line in text.splitlines():
        line = re.sub(r"(^|\s)--.*$", "", line).rstrip()
        if line:
            escaped = line.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'    "{escaped}\\n"')
    return "\n".join(lines)


def main():
    out_path, paths = sys.argv[1], sorted(sys.argv[2:], key=os.path.basename)
    out = ["/* Made from config/schema by scripts/sql_to_c.py; edit the .sql. */",
           '#include "server/store/schema.h"', "",
           "/* C99 promises 4,095 characters; gcc and clang have no limit. */",
           '#pragma GCC diagnostic ignored "-Woverlength-strings"', ""]
    rows = []
    last = 0
    for number, path in enumerate(paths, start=1):
        name = os.path.basename(path)
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", name)
        if not match or int(match.group(1)) <= last:
            sys.exit(f"sql_to_c: {name}: expected NNNN_<name>.sql with a number above {last:04d}, each only once")
        last = int(match.group(1))
        with open(path, encoding="utf-8") as f:
            out.append(f"static const char step_{number}[] =\n{c_string(f.read())};\n")
        rows.append(f'    {{{number}, "{match.group(2)}", step_{number}}},')
    out.append("const srv_schema_step srv_schema_steps[] = {")
    out.extend(rows)
    out.append("};")
    out.append(f"const size_t srv_schema_n_steps = {len(rows)};")
    with open(out_path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
