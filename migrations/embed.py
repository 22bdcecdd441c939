#!/usr/bin/env python3
"""Writes the migrations, in the order of their numbers, as C source: embed.py OUTPUT FILE...

Refuses a gap in the numbers, so that user_version and the number of files stay the same thing."""
import os
import re
import sys


def literal(text):
    lines = []
    for line in text.splitlines():
        escaped = line.replace('\\', '\\\\').replace('"', '\\"')
        lines.append(f'    "{escaped}\\n"')
    return '\n'.join(lines)


def main():
    output, files = sys.argv[1], sorted(sys.argv[2:], key=os.path.basename)
    entries = []
    for number, path in enumerate(files, start=1):
        name = os.path.basename(path)
        match = re.fullmatch(r'(\d{4})_[a-z0-9_]+\.sql', name)
        if match is None or int(match.group(1)) != number:
            sys.exit(f'{name}: expected a file named {number:04d}_name.sql')
        with open(path, encoding='utf-8') as source:
            entries.append(f'    {{"{name}",\n{literal(source.read())}}},')
    with open(output, 'w', encoding='utf-8') as target:
        target.write('#include "migrate.h"\n\nconst struct migration migrations[] = {\n')
        target.write('\n'.join(entries))
        target.write(f'\n}};\nconst int migration_count = {len(files)};\n')


main()
