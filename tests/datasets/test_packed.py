"""Packing changes no bit, and parts that are not what was packed are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from datasets import DataUnavailable, Splits, digits, encoding, mnist, newsgroups, packed, reuters
from datasets.__main__ import main
from datasets.newsgroups_vocabulary import find_vocabulary
from datasets.packed import is_packed, packed_folder, read_packed, write_packed
from tests.datasets.test_mnist import needs_mnist
from tests.datasets.test_newsgroups import needs_newsgroups

CONTENT = "numbers"
ARRAYS = {
    "x": np.random.default_rng(0).integers(0, 256, (50, 30, 20), np.uint8),
    "y": np.arange(50, dtype=np.int16) % 7,
    "names": np.array(["one", "größer", ""]),
    "zeros": np.zeros((4, 3000)),
    "none": np.empty((0, 5), np.float32),
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LTH_DATA_DIR, empty."""
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path / "own"))
    return tmp_path / "own"


def same(first: Splits, second: Splits) -> bool:
    """Whether two data sets are the same but for what they were read from."""
    arrays = [(getattr(first, s), getattr(second, s)) for s in ("train", "validation", "test")]
    equal = all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for one, other in arrays
        for a, b in zip(one, other, strict=True)
    )
    described = [
        (d.name, d.classes, d.x_meaning, d.y_meaning, d.without_validation, {**d.provenance, "read_from": ""})
        for d in (first, second)
    ]
    return equal and described[0] == described[1]


def from_parts(loaded: Splits) -> bool:
    return loaded.provenance["read_from"].startswith("packed parts in ")


def check_packing_changes_nothing(
    name: str, module: ModuleType, seeds: tuple[int, ...] = (0, 3), **arguments: Any
) -> None:
    """Loads before and after packing, by each of the seeds."""
    before = {seed: module.load(seed=seed, **arguments) for seed in seeds}
    assert main(["pack", name]) == 0
    for seed, expected in before.items():
        loaded = module.load(seed=seed, **arguments)
        assert same(loaded, expected)
        assert from_parts(loaded) and not from_parts(expected)
    assert module.status().where == loaded.provenance["read_from"]


def no_original(*_: object, **__: object) -> None:
    raise AssertionError("read the original")


@pytest.mark.usefixtures("own")
def test_packed_digits_are_the_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    check_packing_changes_nothing("digits", digits)
    monkeypatch.setattr(digits, "originals", no_original)
    digits.load()


def test_packed_mnist_is_mnist_and_needs_no_cache(small_mnist: Path) -> None:
    check_packing_changes_nothing("mnist", mnist, validation=10)
    shutil.rmtree(small_mnist)
    assert len(mnist.load(validation=20).train.y) == 40


def test_packed_newsgroups_are_the_same_by_any_cut_and_need_nothing_else(
    small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, lengths = newsgroups.load(validation=0, tokens=7), newsgroups.lengths()
    vocabulary = find_vocabulary(None, 100)
    check_packing_changes_nothing("newsgroups", newsgroups, validation=20)
    for folder in ("sklearn", "nltk", "cache", "own/newsgroups"):
        shutil.rmtree(small_newsgroups / folder)
    monkeypatch.setattr(encoding, "tokenise", no_original)
    assert newsgroups.status().present
    assert same(newsgroups.load(validation=0, tokens=7), before)
    assert [n.tolist() for n in newsgroups.lengths()] == [n.tolist() for n in lengths]
    assert find_vocabulary(None, 100) == find_vocabulary("published", 100) == vocabulary


@pytest.mark.parametrize(
    "asked",
    [{"remove_quotes": True}, {"remove_footers": True}, {"vocabulary": "training"}],
    ids=lambda a: next(iter(a)),
)
def test_another_encoding_than_the_packed_one_takes_the_postings(small_newsgroups: Path, asked: dict[str, Any]) -> None:
    expected = newsgroups.load(validation=20, **asked)
    assert main(["pack", "newsgroups"]) == 0
    loaded = newsgroups.load(validation=20, **asked)
    assert same(loaded, expected) and not from_parts(loaded)
    shutil.rmtree(small_newsgroups / "sklearn")
    with pytest.raises(DataUnavailable) as error:
        newsgroups.load(validation=20, **asked)
    message = str(error.value)
    for part in (
        "packed",
        "published vocabulary",
        str(asked)[1:-1],
        "SCIKIT_LEARN_DATA",
        "experiments.digits_lenet_fcn",
    ):
        assert part in message


def test_newsgroups_without_the_published_vocabulary_are_not_packed(
    small_newsgroups: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(small_newsgroups / "own")
    assert main(["pack", "newsgroups"]) == 1
    assert "vocabulary" in capsys.readouterr().err and not is_packed("newsgroups")


@needs_mnist
@pytest.mark.usefixtures("own")
@pytest.mark.slow
def test_real_mnist_packed_is_mnist(own: Path) -> None:
    check_packing_changes_nothing("mnist", mnist, seeds=(3,))
    sizes = [path.stat().st_size for path in (own / "packed" / "mnist").iterdir()]
    assert max(sizes) < 50e6 and sum(sizes) < 12e6


@needs_newsgroups
@pytest.mark.slow
def test_real_newsgroups_packed_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, vocabulary = newsgroups.load(seed=3), find_vocabulary(None, newsgroups.WORDS)
    write_packed("newsgroups", newsgroups.content(), newsgroups.originals(), tmp_path / "packed", int(2e6))
    for variable in ("LTH_DATA_DIR", "SCIKIT_LEARN_DATA", "NLTK_DATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert same(newsgroups.load(seed=3), expected)
    assert find_vocabulary(None, newsgroups.WORDS) == vocabulary


@pytest.mark.parametrize("part_bytes", [3000 * 8 + 1025, 30_000, 50_000, 10**9])
def test_arrays_come_back_whole_from_parts_below_the_limit(own: Path, part_bytes: int) -> None:
    parts = write_packed("numbers", CONTENT, ARRAYS, own / "packed", part_bytes)
    assert all(path.stat().st_size < part_bytes for path in parts)
    assert (len(parts) == 1) == (part_bytes == 10**9)
    loaded = read_packed("numbers", CONTENT, ARRAYS)
    for key, array in ARRAYS.items():
        assert loaded[key].dtype == array.dtype and np.array_equal(loaded[key], array)


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    written = [write_packed("numbers", CONTENT, ARRAYS, tmp_path / side, 30_000) for side in "ab"]
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "a/numbers/manifest.json").read_text() == (tmp_path / "b/numbers/manifest.json").read_text()


def test_parts_are_compressed_where_that_is_worth_while(tmp_path: Path) -> None:
    zeros, noise = ({key: ARRAYS[key]} for key in ("zeros", "x"))
    (small,) = write_packed("zeros", CONTENT, zeros, tmp_path, 10**6)
    (large,) = write_packed("noise", CONTENT, noise, tmp_path, 10**6)
    assert small.stat().st_size < ARRAYS["zeros"].nbytes / 50
    assert 0 < large.stat().st_size - ARRAYS["x"].nbytes < 1024


def test_the_manifest_says_what_the_parts_are_and_how_they_were_made(own: Path) -> None:
    parts = write_packed("numbers", CONTENT, ARRAYS, own / "packed", 30_000)
    manifest = json.loads((own / "packed/numbers/manifest.json").read_text())
    assert (manifest["format"], manifest["name"], manifest["content"]) == (1, "numbers", CONTENT)
    assert [part["file"] for part in manifest["parts"]] == [path.name for path in parts]
    assert manifest["arrays"]["x"] | {"sha256": ""} == {"dtype": "|u1", "shape": [50, 30, 20], "sha256": ""}
    assert manifest["made"]["command"] == "python -m datasets pack numbers" and manifest["made"]["versions"]["numpy"]
    assert str(own) not in json.dumps(manifest)


def lose_a_part(folder: Path) -> str:
    (folder / "part-000.npz").unlink()
    return "part-000.npz is missing"


def truncate(folder: Path) -> str:
    path = folder / "part-000.npz"
    path.write_bytes(path.read_bytes()[:-1])
    return "bytes in part-000.npz. Received"


def flip_a_byte(folder: Path) -> str:
    content = bytearray((folder / "part-000.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "part-000.npz").write_bytes(content)
    return "Expected part-000.npz as it was packed"


def take_a_part_of_another_packing(folder: Path) -> str:
    others = {**ARRAYS, "x": ARRAYS["x"][::-1]}
    other = write_packed("numbers", CONTENT, others, folder.parent.parent / "other", 30_000)[0]
    assert other.stat().st_size == (folder / "part-000.npz").stat().st_size
    shutil.copy(other, folder / "part-000.npz")
    return "Expected part-000.npz as it was packed"


def break_the_manifest(folder: Path) -> str:
    (folder / "manifest.json").write_text("{")
    return "JSONDecodeError|Expecting"


def change_the_manifest(field: str, value: Any) -> Callable[[Path], str]:
    def change(folder: Path) -> str:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
        return f"Expected {field} .*Received: {value!r}" if field != "arrays" else "KeyError: 'x'"

    change.__name__ = f"another_{field}"
    return change


def swap_two_rows(folder: Path) -> str:
    """All parts are as packed; the manifest puts them in the wrong order."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    first, second = (part for part in manifest["parts"] if part["rows"].get("zeros") in ([1, 2], [2, 3]))
    first["rows"]["zeros"], second["rows"]["zeros"] = second["rows"]["zeros"], first["rows"]["zeros"]
    path.write_text(json.dumps(manifest))
    return ""


@pytest.mark.parametrize(
    "damage",
    [
        lose_a_part,
        truncate,
        flip_a_byte,
        take_a_part_of_another_packing,
        break_the_manifest,
        change_the_manifest("format", 2),
        change_the_manifest("name", "letters"),
        change_the_manifest("content", "other numbers"),
        change_the_manifest("arrays", {}),
    ],
    ids=lambda damage: damage.__name__,
)
def test_what_is_not_what_was_packed_is_one_clear_error(own: Path, damage: Callable[[Path], str]) -> None:
    write_packed("numbers", CONTENT, ARRAYS, own / "packed", 30_000)
    said = damage(own / "packed" / "numbers")
    with pytest.raises(DataUnavailable, match=said) as error:
        read_packed("numbers", CONTENT, ["x", "y"])
    message = str(error.value)
    for part in (str(own / "packed" / "numbers"), "python -m datasets pack numbers", "experiments.digits_lenet_fcn"):
        assert part in message
    assert error.value.__cause__ is not None


def test_whole_parts_put_together_wrongly_are_seen(own: Path) -> None:
    different = {"zeros": np.arange(12_000.0).reshape(4, 3000)}
    write_packed("numbers", CONTENT, different, own / "packed", 3000 * 8 + 1025)
    swap_two_rows(own / "packed" / "numbers")
    with pytest.raises(DataUnavailable, match="Expected zeros to be"):
        read_packed("numbers", CONTENT, ["zeros"])


@pytest.mark.parametrize(
    "name, module", [("digits", digits), ("mnist", mnist), ("newsgroups", newsgroups), ("reuters", reuters)]
)
def test_every_loader_refuses_damaged_parts_rather_than_looking_elsewhere(
    own: Path, name: str, module: ModuleType
) -> None:
    packed_folder(name).mkdir(parents=True)
    (packed_folder(name) / packed.MANIFEST).write_text('{"format": 1}')
    with pytest.raises(DataUnavailable, match=f"the packed parts in {own}"):
        module.load()


def test_only_the_parts_that_are_needed_are_read(own: Path) -> None:
    parts = write_packed("numbers", CONTENT, ARRAYS, own / "packed", 30_000)
    parts[0].unlink()  # of x alone
    assert np.array_equal(read_packed("numbers", CONTENT, ["zeros"])["zeros"], ARRAYS["zeros"])


@pytest.mark.usefixtures("own")
def test_a_part_that_is_too_small_for_an_example_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "digits", "--part-size", "0.001"]) == 1
    assert "Expected a part size of at least 0.001089 MB" in capsys.readouterr().err
    assert not is_packed("digits")
    assert main(["pack", "digits", "--part-size", "0.01"]) == 0
    assert len(digits.load().train.y) == 1197


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "much"])
def test_a_part_size_that_is_no_size_is_a_usage_error(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["pack", "digits", "--part-size", size])
    assert error.value.code == 2 and "--part-size" in capsys.readouterr().err


def test_an_unknown_data_set_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["pack", "imagenet"])
    assert error.value.code == 2 and "imagenet" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["pack", "digits", "--out", str(tmp_path / "file")]) == 1
    message = capsys.readouterr().err
    assert str(tmp_path / "file" / "digits") in message and "--out" in message and "Traceback" not in message
    assert (tmp_path / "file").read_text() == "in the way"


def test_another_folder_is_written_and_said_where_to_copy_it(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = own.parent / "there"
    assert main(["pack", "digits", "--out", str(there)]) == 0
    assert "packed/digits in LTH_DATA_DIR" in capsys.readouterr().out
    assert not is_packed("digits")
    shutil.copytree(there, own / "packed")
    assert is_packed("digits") and same(digits.load(), digits.load())


def test_packing_again_replaces_the_parts_and_nothing_else(own: Path) -> None:
    assert main(["pack", "digits", "--part-size", "0.05"]) == 0
    assert len(list(packed_folder("digits").glob("part-*"))) == 3
    assert main(["pack", "digits"]) == 0
    assert sorted(path.name for path in packed_folder("digits").iterdir()) == ["manifest.json", "part-000.npz"]
    assert [path.name for path in packed_folder("digits").parent.iterdir()] == ["digits"]


def test_what_no_packing_made_is_left_alone(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed_folder("digits").mkdir(parents=True)
    (packed_folder("digits") / "thesis.tex").write_text("the only copy")
    assert main(["pack", "digits"]) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert [path.name for path in packed_folder("digits").iterdir()] == ["thesis.tex"]


def test_packing_that_is_interrupted_leaves_the_parts_that_were_there(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["pack", "digits"]) == 0
    before = {path.name: path.read_bytes() for path in packed_folder("digits").iterdir()}
    written: list[Path] = []

    def interrupted(path: Path, content: bytes) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    monkeypatch.setattr(packed, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["pack", "digits", "--part-size", "0.05"])
    assert written and not written[0].exists()
    assert {path.name: path.read_bytes() for path in packed_folder("digits").iterdir()} == before
    assert [path.name for path in packed_folder("digits").parent.iterdir()] == ["digits"]


def test_the_list_says_what_is_packed_and_where(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "digits"]) == 0
    printed = capsys.readouterr().out
    assert "1 part, 0.0 MB" in printed and str(packed_folder("digits")) in printed
    assert main([]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("digits"))
    assert line.split()[:2] == ["digits", "packed"] and str(own / "packed" / "digits") in line
