"""Packs a folder into a .tar.xz archive: pack.py FOLDER ARCHIVE

The programs share most of their code, so the compression window is larger than the sum of their sizes.
"""

import lzma
import os
import sys
import tarfile
from pathlib import Path

WINDOW = 256 << 20


def main():
    folder, archive = Path(sys.argv[1]), Path(sys.argv[2])
    filters = [
        {"id": lzma.FILTER_X86},
        {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": WINDOW},
    ]
    partial = archive.with_name(archive.name + ".partial")
    with open(partial, "wb") as file:
        with lzma.open(file, "wb", filters=filters) as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                tar.add(folder, arcname=folder.name, filter=exclude_outputs)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, archive)


def exclude_outputs(member):
    """Excludes the outputs of the checks, and removes owners and times."""
    parts = Path(member.name).parts
    if len(parts) > 1 and parts[1] == "out":
        return None
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


main()
