"""The benchmark of embedding steps runs, and its arithmetic is right."""

import json
from functools import partial

import numpy as np
import pytest

from benchmarks import embedding_agreement, embedding_step, report


def few_documents():
    """Random words instead of 20 Newsgroups, in few documents."""
    generator = np.random.default_rng(0)
    return "random words", (generator.integers(50, size=(700, 200), dtype=np.int32), generator.integers(20, size=700))


@pytest.mark.slow
def test_an_embedding_step_is_timed_on_both_backends_and_written_out(tmp_path):
    arguments = ["--rounds", "1", "--steps", "4", "--dimension", "2", "--out", str(tmp_path)]
    embedding_step.main(arguments, few_documents)
    result = json.loads((tmp_path / "embedding_step.json").read_text())
    assert (tmp_path / "embedding_step.md").read_text() == embedding_step.markdown(result)
    contenders = {embedding_step.ROWS, embedding_step.JAX, embedding_step.FIT, embedding_step.COMPILED}
    contenders -= {embedding_step.JAX} if result["left_out"] else set()
    assert set(result["seconds_per_step"]) == set(result["peak_bytes"]) == contenders
    assert min(each["min"] for each in result["seconds_per_step"].values()) > 0
    assert min(result["peak_bytes"].values()) > 16 * 61_188 * 2 * 4


@pytest.mark.slow
@pytest.mark.parametrize("contender", [embedding_step.rows, partial(embedding_step.fit, jit_compile=False)])
def test_a_turn_of_an_embedding_step_times_the_steps_that_count(contender):
    turn = contender(few_documents, 8, 2)
    assert len(turn.seconds) == (1 if contender is embedding_step.rows else 2)
    assert min(turn.seconds) > 0
    assert turn.peak_bytes > 16 * 61_188 * 2 * 4


def test_ratios_of_an_embedding_step_are_taken_within_a_round():
    seconds = {embedding_step.ROWS: [1.0, 2.0], embedding_step.FIT: [8.0, 8.0], embedding_step.JAX: [2.0, 2.0]}
    compared = embedding_step.compare({name: np.array(each) for name, each in seconds.items()})
    ratios = {(ratio["of"], ratio["to"]): ratio["rounds"] for ratio in compared["ratios"]}
    assert ratios == {
        (embedding_step.ROWS, embedding_step.FIT): [8, 4],
        (embedding_step.JAX, embedding_step.FIT): [4, 4],
        (embedding_step.JAX, embedding_step.ROWS): [0.5, 1],
    }


def test_an_embedding_step_without_jax_leaves_it_out(monkeypatch):
    turn = embedding_step.Turn([0.5], 10)
    backends = []

    class Stage:
        def __init__(self, backend, load):
            backends.append(backend)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def call(self, function, *arguments):
            return turn

    monkeypatch.setattr(embedding_step, "Stage", Stage)
    monkeypatch.setattr(embedding_step.importlib.util, "find_spec", lambda name: None)
    result = {**report.header("embedding_step"), **embedding_step.measure(embedding_step.Config(), few_documents)}
    assert set(backends) == {"tensorflow"} and len(backends) == 9
    assert embedding_step.JAX not in result["seconds_per_step"]
    assert "JAX is not installed and takes no part." in embedding_step.markdown(result)


@pytest.mark.slow
def test_the_ways_of_the_agreement_see_the_same_batches_and_weights(monkeypatch):
    monkeypatch.setattr(embedding_agreement, "documents", few_documents)
    dense = embedding_agreement.by_loop(3, 2, "dense")
    np.testing.assert_allclose(embedding_agreement.by_keras(3, 2), dense, rtol=1e-3)


def test_embedding_results_are_written_out():
    turns = {name: report.summary([0.2, 0.1, 0.4]) for name in (embedding_step.ROWS, embedding_step.FIT)}
    result = {
        "data": "words",
        "settings": {"rounds": 3, "steps": 8, "dimension": 300},
        "weights": 293_702_400,
        "seconds_per_step": turns,
        "peak_bytes": dict.fromkeys(turns, 7_000_000_000),
        "ratios": [{"of": embedding_step.ROWS, "to": embedding_step.FIT, "asked": 2.5, **report.summary([4.0, 5.0])}],
        "left_out": [],
        **report.header("embedding_step"),
    }
    text = embedding_step.markdown(result)
    assert "| 0.200 | 0.100 - 0.400 | 7.0 |" in text
    assert "| 4.50 | 4.00 - 5.00 | 2.5 |" in text
    losses = {name: [3.0, 2.5] for name in (embedding_agreement.DENSE, embedding_agreement.EXACT)}
    losses |= {embedding_agreement.LAZY: [3.0, 2.6], embedding_agreement.KERAS: [3.0, 2.4]}
    differences = {name: abs(values[1] - 2.5) for name, values in losses.items()}
    agreement = {
        **result,
        "settings": {"steps": 2, "dimension": 300},
        "losses": losses,
        "differences": differences,
        "mean_differences": {name: difference / 2 for name, difference in differences.items()},
    }
    assert "| rows in use, lazy | 3.0000 | 2.6000 | 0.05 | 0.1 |" in embedding_agreement.markdown(agreement)
    assert len(embedding_agreement.figure(agreement).axes) == 2
