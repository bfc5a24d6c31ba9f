"""The benchmark of tickets trained together runs, and its arithmetic is right."""

import importlib.util
import json
from functools import partial

import numpy as np
import pytest

from benchmarks import together
from benchmarks.lenet import random_mnist

SIZES = (130, 20, 30)


def test_times_of_tickets_together_are_beside_one_in_the_same_round():
    seconds = {together.ALONE: [1.0, 2.0, 1.0], "10 together": [1.2, 3.0, 1.4]}
    ways = together.compare(
        {name: np.array(each) for name, each in seconds.items()}, {together.ALONE: 1, "10 together": 10}, steps=20
    )["ways"]
    assert ways["10 together"]["time_of_one"]["rounds"] == pytest.approx([1.2, 1.5, 1.4])
    assert ways["10 together"]["times_one_by_one"]["median"] == pytest.approx(10 / 1.4)
    assert ways["10 together"]["steps_per_second_of_each"]["max"] == pytest.approx(20 / 1.2)
    assert ways["10 together"]["steps_per_second_in_all"]["max"] == pytest.approx(200 / 1.2)
    assert ways[together.ALONE]["times_one_by_one"]["rounds"] == [1, 1, 1]


@pytest.mark.slow
def test_tickets_together_run_and_are_written_out(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    arguments = ["--tickets", "1", "2", "--steps", "4", "--rounds", "2", "--evaluations", "--out", str(tmp_path)]
    together.main(arguments, partial(random_mnist, SIZES))
    result = json.loads((tmp_path / "together.json").read_text())
    assert (tmp_path / "together.md").read_text() == together.markdown(result)
    assert {way["tickets"] for way in result["ways"].values()} >= {1, 2}
    assert "random data" in result["data"] and "evaluated every 100 steps" in together.markdown(result)
