"""Adds files to a wheel: add_to_wheel.py WHEEL SOURCE=TARGET ...

SOURCE is a file, or a folder whose files are added below TARGET. TARGET is a path in the wheel. The wheel
is replaced when it is complete. Uses only Python's standard library.
"""

import base64
import csv
import hashlib
import io
import os
import sys
import zipfile


def source_files(source, target):
    """Returns pairs of a file's path and its path in the wheel, sorted."""
    if not os.path.isdir(source):
        return [(source, target)]
    pairs = []
    for folder, _, names in os.walk(source):
        for name in names:
            path = os.path.join(folder, name)
            pairs.append((path, target + "/" + os.path.relpath(path, source).replace(os.sep, "/")))
    return sorted(pairs, key=lambda pair: pair[1])


def add(wheel, additions):
    part = wheel + ".part"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as new:
        (record,) = [name for name in old.namelist() if name.endswith(".dist-info/RECORD")]
        for entry in old.infolist():
            if entry.filename != record:
                new.writestr(entry, old.read(entry), compress_type=zipfile.ZIP_DEFLATED)
        rows = list(csv.reader(io.StringIO(old.read(record).decode("utf-8"))))
        existing = set(old.namelist())
        for path, target in additions:
            if target in existing:
                sys.exit("error: %s: the wheel already contains %s" % (wheel, target))
            with open(path, "rb") as file:
                data = file.read()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
            rows.insert(-1, [target, "sha256=" + digest, str(len(data))])
            write(new, target, data)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write(new, record, text.getvalue().encode("utf-8"))
    os.replace(part, wheel)


def write(archive, name, data):
    # The constant time is the earliest of the format, as in the wheels that maturin builds.
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, data, compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    pairs = [word.split("=", 1) for word in sys.argv[2:]]
    add(sys.argv[1], [file for source, target in pairs for file in source_files(source, target)])
