"""Reads the SGML files from the archive of Reuters-21578, which is not trusted."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Collection

MOST_BYTES = 2**24
"""Of the archive; the original has 0.5 * 2**24."""

MOST_UNPACKED = 2**26
"""Of all that is in it; the original has 0.4 * 2**26."""

MOST_MEMBERS = 200
"""The original has 32."""


def unpack(content: bytes, files: Collection[str]) -> dict[str, bytes]:
    """Return the contents of these files in any folder of the archive, without writing to disk.

    Args:
        content: a tar archive, compressed by gzip.
        files: names without folders.

    Raises:
        ValueError: if it unpacks to more than `MOST_UNPACKED` bytes or holds more than `MOST_MEMBERS` members, or if
            one of the files is a link, a device, sparse, or duplicated.
        OSError, EOFError, zlib.error, tarfile.TarError: if it is damaged.
    """
    with gzip.open(io.BytesIO(content)) as compressed:
        whole = compressed.read(MOST_UNPACKED + 1)  # reading to the end verifies the checksum
    if len(whole) > MOST_UNPACKED:
        raise ValueError(f"Expected an archive of at most {MOST_UNPACKED:,} bytes unpacked. Received: more.")
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as archive:
        for number, member in enumerate(archive):
            if number >= MOST_MEMBERS:
                raise ValueError(f"Expected at most {MOST_MEMBERS} members in the archive. Received: more.")
            file = re.split(r"[/\\]", member.name)[-1]
            if file not in files:
                continue
            if not member.isreg() or member.issparse() or file in found:
                kind = "it twice" if file in found else "a link, a device or a sparse file"
                raise ValueError(f"Expected {file} once in the archive, as a plain file. Received: {kind}.")
            opened = archive.extractfile(member)
            assert opened is not None
            found[file] = opened.read()
    return found
