"""What a killed process leaves is removed by the next one; what is in use, or somebody else's, stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from datasets.cache import write_arrays
from datasets.packed import write_packed
from tests.test_packaging import ROOT

HOLD = """
import sys
from pathlib import Path
from datasets.leftovers import temporary_file, temporary_folder
place = Path(sys.argv[2])
with temporary_folder(place) if sys.argv[1] == "folder" else temporary_file(place) as made:
    path = made if sys.argv[1] == "folder" else made[0]
    (path / "made" if path.is_dir() else path).write_text("half")
    print(path, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(kind: str, place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process in the middle of its work, and what it has made."""
    command = [sys.executable, "-c", HOLD, kind, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_parts_that_a_killed_packing_left_go_with_the_next(tmp_path: Path) -> None:
    def pack() -> None:
        write_packed("numbers", "numbers", {"x": np.arange(3)}, tmp_path, 10**6)

    with holding("folder", tmp_path) as (process, made):
        pack()
        assert (made / "made").read_text() == "half"  # still at work
        process.kill()
        process.wait()
        assert made.exists()
        pack()
        assert [path.name for path in tmp_path.iterdir()] == ["numbers"]


def test_a_file_that_a_killed_process_left_half_written_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with holding("file", path) as (process, made):
        write_arrays(path, {"x": np.arange(3)})
        assert made.read_text() == "half"
        process.kill()
        process.wait()
        assert made.exists()
        write_arrays(path, {"x": np.arange(3)})
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "name",
    [".x.tmp", ".a.npz.tmp", ".b.npz.12-0123abcd.tmp", "download-abcdefgh", ".lth_keras-mine", "a.npz.12-0123abcd.tmp"],
)
def test_what_is_somebody_elses_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    write_arrays(tmp_path / "a.npz", {"x": np.arange(3)})
    write_packed("numbers", "numbers", {"x": np.arange(3)}, tmp_path, 10**6)
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("the only copy")
    (tmp_path / ".lth_keras-0123456789abcdef").symlink_to(tmp_path / "mine")
    write_packed("numbers", "numbers", {"x": np.arange(3)}, tmp_path, 10**6)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "the only copy"
