"""run.h5 says what figures need: of weights, epochs and documents."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from lth_keras.storage import DocumentLengths, Facts, assemble, open_run, write_run
from lth_keras.storage.facts import document_lengths, document_variables
from tests.synthetic import CREATED, KINDS, SHAPES, dataset, level_result, levels_of

LENGTHS = {"train": np.array([3, 0, 3, 250]), "test": np.array([7, 3])}


def test_documents_come_back_through_a_file(tmp_path: Path) -> None:
    facts = Facts(documents=DocumentLengths(LENGTHS, cut_off=200))
    run = assemble(levels_of(1, 1), experiment="x", config={}, versions={}, created=CREATED, facts=facts)
    write_run(tmp_path / "run.h5", run)
    read = open_run(tmp_path)
    found = document_lengths(read)
    assert found is not None and found.cut_off == 200 and list(found.lengths) == ["train", "test"]
    for name, lengths in LENGTHS.items():
        np.testing.assert_array_equal(found.lengths[name], np.sort(lengths))
    assert read.attrs["experiment"] == "x" and read.sizes["length"] == 4
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["split"].asstr()[:].tolist() == ["train", "test"]
        np.testing.assert_array_equal(file["documents"][:], [[1, 2, 0, 1], [0, 1, 1, 0]])
    assert document_lengths(dataset(trials=1, levels=0)) is None


@pytest.mark.parametrize("lengths", [{}, {"train": np.array([], int)}])
def test_documents_without_a_length_are_refused(lengths: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="Expected: document lengths of one split or more"):
        document_variables(DocumentLengths(lengths, 3))


def test_a_weight_has_its_size_and_kind(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", dataset(trials=1, levels=1, kinds=KINDS))
    run = open_run(tmp_path)
    assert dict(zip(run.weight.values, run["size"].values, strict=True)) == {
        key: np.prod(shape) for key, shape in SHAPES.items()
    }
    assert dict(zip(run.weight.values, run.kind.values, strict=True)) == KINDS
    assert "kind" not in dataset(trials=1, levels=1).coords


def test_what_levels_record_goes_before_what_is_said_of_them() -> None:
    said = Facts(steps_per_epoch=5, kinds=dict.fromkeys(KINDS, "conv"))
    arguments = {"experiment": "x", "config": {}, "versions": {}, "created": CREATED}
    recorded = assemble(levels_of(1, 1, steps_per_epoch=916, kinds=KINDS), facts=said, **arguments)
    assert recorded.attrs["steps_per_epoch"] == 916 and recorded.kind.values.tolist() == list(KINDS.values())
    before = assemble(levels_of(1, 1), facts=said, **arguments)
    assert before.attrs["steps_per_epoch"] == 5 and before.kind.values.tolist() == ["conv"] * 3
    mixed = [level_result(level=0, steps_per_epoch=4), level_result(level=1, steps_per_epoch=8)]
    assert "steps_per_epoch" not in assemble(mixed, **arguments).attrs
