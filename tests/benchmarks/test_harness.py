"""Contenders take turns in fresh processes, and what they measure is written down."""

import json
import math
import os

import pytest

from benchmarks import harness
from benchmarks.harness import Case, Contender


def told(value=1.0):
    """Says that it runs in a process of its own, with its backend."""
    return {"steps/s": value, "process": float(os.getpid()), "jax": float(os.environ["KERAS_BACKEND"] == "jax")}


def failing():
    raise OSError("no disk")


def case(contenders, ratios=()):
    return Case("Title", "Setting.", lambda small: contenders, lambda small: "noise", ratios, 2)


@pytest.mark.slow
def test_each_turn_has_a_process_of_its_own_with_the_contenders_backend(tmp_path):
    one = {"a": Contender("jax", told), "b": Contender("tensorflow", told, (2.0,))}
    before = os.environ["KERAS_BACKEND"]
    text = harness.run("tried", case(one, [("b", "a")]), rounds=2, out=tmp_path)
    assert os.environ["KERAS_BACKEND"] == before
    result = json.loads((tmp_path / "tried.json").read_text())
    assert (tmp_path / "tried.md").read_text() == text
    found = result["quantities"]
    processes = found["a"]["process"]["rounds"] + found["b"]["process"]["rounds"]
    assert len({*processes, os.getpid()}) == 5
    assert found["a"]["jax"]["rounds"] == [1, 1] and found["b"]["jax"]["rounds"] == [0, 0]
    assert [(each["of"], each["quantity"], each["rounds"]) for each in result["ratios"]] == [("b", "steps/s", [2, 2])]
    for part in ("Setting. Data: noise. Rounds: 2", "| b / a | 2.00 | 2.00 - 2.00 |", "- Commit: ", "- Machine: "):
        assert part in text


@pytest.fixture
def turns(monkeypatch):
    """Turns without processes: the contenders in their order."""
    order = []

    def take_turn(contender):
        order.append(contender.arguments[0])
        return contender.measure(*contender.arguments)

    monkeypatch.setattr(harness, "take_turn", take_turn)
    return order


def named(name):
    return {"steps/s": float(ord(name))}


def test_each_round_begins_with_another_contender(turns):
    harness.measure(case({name: Contender("jax", named, (name,)) for name in "abc"}), rounds=4)
    assert "".join(turns) == "abc" + "bca" + "cab" + "abc"


def test_only_contenders_that_match_run(turns):
    contenders = {name: Contender("jax", named, (name,)) for name in "abc"}
    assert list(harness.measure(case(contenders), only=("c", "[ab]"), rounds=1)["quantities"]) == ["a", "b", "c"]
    assert turns == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"a contender among a; b; c\. Received: 'd'"):
        harness.measure(case(contenders), only=("a", "d"))


@pytest.mark.slow
def test_files_are_prepared_once_for_all_turns_and_removed():
    contenders = {name: Contender("tensorflow", reading, (float(name),)) for name in "12"}
    prepared = case(contenders, [("1", "2")])._replace(prepare=writing)
    result = harness.measure(prepared)
    assert result["quantities"]["2"]["ms"]["rounds"] == [6, 6] and result["ratios"][0]["rounds"] == [2, 2]


def writing(small, folder):
    """A file that all turns read, and no second `prepare` may write."""
    with open(os.path.join(folder, "file"), "x", encoding="utf-8") as file:
        file.write("3")


def reading(factor, folder):
    """Its time is that in the file, times a factor."""
    with open(os.path.join(folder, "file"), encoding="utf-8") as file:
        return {"ms": factor * float(file.read())}


def test_a_contender_that_cannot_run_is_left_out_and_said(turns):
    def fails(name):
        raise OSError("no disk")

    cases = case({"a": Contender("jax", named, ("a",)), "b": Contender("jax", fails, ("b",))}, [("a", "b")])
    result = harness.measure(cases)
    assert set(result["quantities"]) == {"a"} and result["ratios"] == []
    assert result["left_out"] == {"b": "OSError: no disk"} and turns == ["a", "b", "a"]


def test_a_contender_that_fails_later_ends_the_measurement(turns):
    def fails_later(name):
        if turns.count(name) > 1:
            raise OSError("no disk")
        return named(name)

    with pytest.raises(RuntimeError, match="'a' failed in round 2"):
        harness.measure(case({"a": Contender("jax", fails_later, ("a",))}))


def test_a_backend_that_is_not_installed_takes_no_turn():
    with pytest.raises(ModuleNotFoundError, match="no_such_backend is not installed"):
        harness.take_turn(Contender("no_such_backend", told))


def test_numbers_that_are_not_finite_are_no_result():
    with pytest.raises(ArithmeticError, match="Expected finite numbers"):
        harness.take_turn(Contender("jax", told, (math.nan,)))


def test_ratios_are_taken_within_a_round_and_of_speeds_only():
    values = {"a": {"steps/s": [6.0, 8.0], "GB": [1.0, 1.0]}, "b": {"steps/s": [2.0, 4.0], "GB": [2.0, 2.0]}}
    (ratio,) = harness.ratios([("a", "b"), ("a", "not there")], values)
    assert ratio["rounds"] == [3, 2] and (ratio["median"], ratio["min"], ratio["max"]) == (2.5, 2, 3)


@pytest.mark.parametrize(("value", "text"), [(1312.6, "1,313"), (0.15149, "0.151"), (6.2, "6.20"), (-33, "-33.0")])
def test_numbers_have_three_digits_that_count(value, text):
    assert harness.shown(value) == text
