"""Streams of batches become the arrays that they were made from, or are refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.data import SPLITS, Stream, read_streams
from lth_keras.search.identity import describe
from lth_keras.search.parameters import Training
from tests import tiny
from tests.few import few


class Batches(keras.utils.PyDataset):
    """Batches of arrays, the last of which may be smaller."""

    def __init__(self, *arrays: Any, batch: int = 32, length: Any = "own") -> None:
        super().__init__()
        self.arrays, self.batch, self._length = arrays, batch, length
        self._examples = len(keras.tree.flatten(arrays)[0])

    @property
    def num_batches(self) -> Any:
        return math.ceil(self._examples / self.batch) if self._length == "own" else self._length

    def __getitem__(self, index: int) -> Any:
        rows = np.arange(index * self.batch, (index + 1) * self.batch)
        rows = rows[rows < self._examples] if self._length == "own" else rows % self._examples
        return tuple(keras.tree.map_structure(lambda array: array[rows], part) for part in self.arrays)


class Loader:
    """What of a PyTorch DataLoader can be seen without PyTorch."""

    batch_sampler = None

    def __init__(self, *arrays: Any) -> None:
        self._batches = Batches(*arrays)

    def __len__(self) -> int:
        return int(self._batches.num_batches)

    def __iter__(self) -> Iterator[Any]:
        return (list(self._batches[i]) for i in range(len(self)))


def dataset(*arrays: Any) -> Any:
    tensorflow = pytest.importorskip("tensorflow")
    return tensorflow.data.Dataset.from_tensor_slices(arrays).batch(32)


def iterate(*arrays: Any) -> Any:
    return lambda: iter(Loader(*arrays))


SOURCES: dict[str, Callable[..., Any]] = {
    "tf.data": dataset,
    "PyDataset": Batches,
    "DataLoader": Loader,
    "function": iterate,
    "function that makes a source": lambda *arrays: lambda: Batches(*arrays),
    "generator": lambda *arrays: iter(Loader(*arrays)),
}
"""Arrays -> a stream of them."""


def as_streams(make: Callable[..., Any], data: Any) -> dict[str, Any]:
    return {name: make(*part) for name, part in data.items()}


@pytest.mark.parametrize("source", SOURCES)
def test_every_example_is_read_in_its_place_also_of_a_smaller_last_batch(source: str) -> None:
    data = tiny.data()
    data["train"] = (*data["train"], np.linspace(0, 1, 120, dtype="float32"))  # type: ignore[assignment]
    read = read_streams(as_streams(SOURCES[source], data), SPLITS)
    for name in SPLITS:
        assert len(read[name]) == len(data[name])
        for received, expected in zip(read[name], data[name], strict=True):
            assert received.dtype == expected.dtype
            np.testing.assert_array_equal(received, expected)


def test_structures_stay_and_arrays_are_not_touched() -> None:
    arrays = tiny.data()
    assert read_streams(arrays, SPLITS) is arrays
    x, y = arrays["train"]
    nested = ({"one": x, "two": (x, y)}, (y, x))
    read = read_streams({**arrays, "train": Batches(*nested)}, SPLITS)
    assert read["test"] is arrays["test"]
    for received, expected in zip(keras.tree.flatten(read["train"]), keras.tree.flatten(nested), strict=True):
        np.testing.assert_array_equal(received, expected)
    assert set(read["train"][0]) == {"one", "two"}


@few("source", [name for name in SOURCES if name != "generator"], "tf.data")
def test_a_search_on_streams_is_the_search_on_their_arrays(source: str, tmp_path: Path, capsys: Any) -> None:
    search = tiny.make(data=as_streams(SOURCES[source], tiny.data()))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Read train: 120 examples, 0.0 MB." and len(said) == 3
    assert describe(search) == describe(tiny.make())
    by_seed = tiny.make(data=lambda seed: as_streams(SOURCES[source], tiny.data()))
    assert describe(by_seed) == describe(tiny.make())
    network = search.network
    run = search.run(out=tmp_path / "streams")
    other = tiny.make(network).run(out=tmp_path / "arrays")
    assert run.dataset.drop_vars(["seconds", "peak_memory_bytes"]).identical(
        other.dataset.drop_vars(["seconds", "peak_memory_bytes"]).assign_attrs(run.dataset.attrs)
    )


def test_data_that_change_between_readings_cause_a_warning() -> None:
    generator = np.random.default_rng(0)
    noisy = iterate(*tiny.data()["train"])

    def augmented() -> Iterator[Any]:
        return ((x + generator.normal(size=x.shape), y) for x, y in noisy())

    with pytest.warns(UserWarning, match=r"same batches at every reading.*split 'train'.*into the model"):
        read_streams({**tiny.data(), "train": augmented}, SPLITS)


X, Y = tiny.data()["train"]
REFUSED: dict[str, tuple[Any, str]] = {
    "no end": (lambda: Batches(X, Y, length=None), "a dataset with an end.*engine='fit'.*Batches"),
    "no end that is known": (lambda: lambda: itertools.repeat((X, Y)), "at most 1.0 MB.*engine='fit'.*data_memory"),
    "too large": (lambda: Batches(X, Y, length=10**6), "at most 1.0 MB.*Batches of 1,1.*MB or more"),
    "single examples": (lambda: lambda: zip(X, Y, strict=True), r"\.batch\(n\)"),
    "rows that differ": (lambda: lambda: iter([(X, Y), (X, Y[:50])]), r"as many rows.*\(50,\) in batch 1"),
    "no labels": (lambda: lambda: iter([X]), r"\(x, y\) or \(x, y, sample_weight\).*ndarray as batch 0"),
    "nothing": (lambda: lambda: iter([]), "batches. Received: none"),
    "a generator again": (lambda: iter(()), "only once: give a function"),
    "no iterator": (lambda: lambda: 3, r"a source of batches, or a function.*3 \(int\)"),
    "padded": (lambda: lambda: iter([(X, Y), (X[:, :5], Y)]), "one shape.*pad them all"),
    "other structures": (lambda: lambda: iter([(X, Y), ((X, X), Y)]), "one structure.*batch 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ValueError, match=f"Split 'train': Expected .*{message}"):
        read_streams({**tiny.data(), "train": make()}, SPLITS, most=10**6)


def test_an_endless_dataset_is_refused_before_it_is_read() -> None:
    endless = dataset(X, Y).repeat()
    with pytest.raises(ValueError, match="a dataset with an end"):
        tiny.make(data={**tiny.data(), "train": endless})
    assert Stream("train", endless).length == math.inf


def test_the_limit_is_the_users() -> None:
    with pytest.raises(ValueError, match=r"at most 0\.0 MB"):
        tiny.make(data=as_streams(Batches, tiny.data()), data_memory=4000)
    tiny.make(data=as_streams(Batches, tiny.data()), data_memory="1 MB")
    assert Training(steps=1, data_memory="1.5GB").data_memory == 1_500_000_000
    for wrong in ("2", "GB", "1.2.3GB", "-1GB", 0, 1.5):
        with pytest.raises(ValueError, match="Expected data_memory"):
            Training(steps=1, data_memory=wrong)  # type: ignore[arg-type]
