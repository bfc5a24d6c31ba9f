"""`python -m datasets` lists the data sets; `fetch NAME` downloads one, `pack NAME` writes one as plain npz parts."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from datasets import cifar10, digits, mnist, newsgroups, reuters
from datasets.errors import DataUnavailable
from datasets.packed import PART_MEGABYTES, is_packed, packed_folder, write_packed

DATASETS: dict[str, ModuleType] = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar10,
    "newsgroups": newsgroups,
    "reuters": reuters,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0, or 1 if data are unavailable or cannot be written."""
    parser = argparse.ArgumentParser(prog="python -m datasets", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="list the data sets (also without a command)")
    fetch = commands.add_parser("fetch", help="download a data set into its cache")
    pack = commands.add_parser(
        "pack", help="write a data set as plain npz parts, which load without the libraries of the original"
    )
    for command in (fetch, pack):
        command.add_argument("name", choices=sorted(DATASETS))
    pack.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write DIR/NAME/. Default: $LTH_DATA_DIR/packed, where the loaders look for parts",
    )
    pack.add_argument(
        "--part-size",
        type=_megabytes,
        default=PART_MEGABYTES,
        metavar="MB",
        help=f"largest size of a part in 10^6 bytes. Default: {PART_MEGABYTES:g}",
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "fetch":
            DATASETS[options.name].fetch()
            print(_printable(f"{options.name}: {DATASETS[options.name].status().where}"))
        elif options.command == "pack":
            _pack(options.name, options.out, options.part_size)
        else:
            print(_printable(_listing()))
    except (DataUnavailable, ValueError, OSError) as error:
        print(_printable(str(error)), file=sys.stderr)
        return 1
    return 0


def _pack(name: str, out: Path | None, megabytes: float) -> None:
    module = DATASETS[name]
    folder = packed_folder(name) if out is None else out.expanduser() / name
    arrays = module.originals()
    try:
        parts = write_packed(name, module.content(), arrays, folder.parent, int(megabytes * 1e6))
    except OSError as error:
        advice = "Choose another folder with --out, or set LTH_DATA_DIR."
        raise OSError(f"{name}: Expected to write parts to {folder}. Received: {error}.\n{advice}") from error
    size = sum(part.stat().st_size for part in parts)
    count = f"{len(parts)} part{'s' if len(parts) > 1 else ''}"
    print(_printable(f"{name}: {count}, {size / 1e6:.1f} MB, in {folder}"))
    if folder.absolute() != packed_folder(name).absolute():
        print(f"They are read from packed/{name} in LTH_DATA_DIR: copy the folder there.")


def _listing() -> str:
    rows = [("name", "here", "train / validation / test", "read from, or looked for in")]
    for module in DATASETS.values():
        status = module.status()
        here = "packed" if is_packed(status.name) else "yes" if status.present else "no"
        rows.append((status.name, here, status.counts, status.where))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    padded = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([*padded, f"Packed parts come first: {packed_folder('NAME')} (LTH_DATA_DIR)."])


def _printable(text: str) -> str:
    """The text with control characters escaped, which names of folders may contain."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)


def _megabytes(text: str) -> float:
    size = float(text)
    if not (math.isfinite(size) and size > 0):
        raise argparse.ArgumentTypeError(f"expected a positive number of 10^6 bytes, received {text}")
    return size


if __name__ == "__main__":
    sys.exit(main())
