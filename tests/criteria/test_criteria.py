"""Criteria: pure functions of the state; higher scores are kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lth_keras.criteria import CRITERIA, Criterion, State, criterion
from lth_keras.mask import Mask
from lth_keras.pruning.ranking import keep_highest

SHAPES = {"b/kernel": (6, 5), "a/kernel": (3, 3, 2)}


def weights(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {key: generator.normal(size=shape).astype("float32") for key, shape in SHAPES.items()}


class Made:
    """Derivatives that are made up, and counted."""

    def __init__(self, seed: int) -> None:
        self.seed, self.asked = seed, 0

    def gradients(self, final: object, mask: Mask) -> dict[str, np.ndarray]:
        self.asked += 1
        return weights(self.seed)

    def hessian_gradients(self, final: object, mask: Mask, temperature: float = 1.0) -> dict[str, np.ndarray]:
        self.asked += 1
        return {key: value / np.float32(temperature) for key, value in weights(self.seed + 1).items()}

    def synaptic_flow(self, final: object, mask: Mask) -> dict[str, np.ndarray]:
        self.asked += 1
        return {key: np.abs(value) for key, value in weights(self.seed + 2).items()}

    def input_norms(self, final: object, mask: Mask) -> dict[str, np.ndarray]:
        self.asked += 1
        return {key: np.abs(value) for key, value in weights(self.seed + 3).items()}


def state(*, final: int = 1, initial: int | None = 2, draws: int = 3, derivatives: int = 4) -> State:
    return State(
        final=weights(final) | {"b/bias": np.zeros(5, "float32")},
        mask=Mask.ones(SHAPES),
        generator=np.random.default_rng(draws),
        initial=None if initial is None else weights(initial),
        derivatives=Made(derivatives),
    )


def next_mask(name: str, seen: State) -> Mask:
    scores = criterion(name)(seen)
    return keep_highest(scores, seen.mask, 20, generator=np.random.default_rng(0))


@pytest.mark.parametrize("name", CRITERIA)
def test_scores_are_one_real_array_per_prunable_weight(name: str) -> None:
    scores = criterion(name)(state())
    assert list(scores) == list(SHAPES)
    for key, shape in SHAPES.items():
        assert scores[key].shape == shape
        assert scores[key].dtype == np.float32
        assert np.isfinite(scores[key]).all()


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_are_pure(name: str) -> None:
    seen = state()
    assert seen.initial is not None
    before = {key: value.copy() for key, value in seen.final.items()}
    first = criterion(name)(seen)
    for array in first.values():
        array[...] = -1  # what a caller does to its scores must not reach the weights
    assert all(np.array_equal(seen.final[key], value) for key, value in before.items())
    assert all(np.array_equal(seen.initial[key], value) for key, value in weights(2).items())


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("magnitude", {"final"}),
        ("initial_magnitude", {"initial"}),
        ("magnitude_change", {"final", "initial"}),
        ("movement", {"final", "initial"}),
        ("random", {"draws"}),
        ("snip", {"final", "derivatives"}),
        ("grasp", {"final", "derivatives"}),
        ("grasp_magnitude", {"final", "derivatives"}),
        ("synflow", {"final", "derivatives"}),
        ("wanda", {"final", "derivatives"}),
    ],
)
def test_the_mask_changes_with_what_the_criterion_scores_and_with_nothing_else(name: str, decides: set[str]) -> None:
    mask = next_mask(name, state())
    changed: list[dict[str, Any]] = [{"final": 11}, {"initial": 12}, {"draws": 13}, {"derivatives": 14}]
    for change in changed:
        assert (next_mask(name, state(**change)) != mask) == (change.keys() <= decides)


def test_every_criterion_is_among_those_that_are_looked_at_here() -> None:
    mark = test_the_mask_changes_with_what_the_criterion_scores_and_with_nothing_else.pytestmark[0]  # type: ignore[attr-defined]
    assert [name for name, _ in mark.args[1]] == list(CRITERIA)


@pytest.mark.parametrize("name", CRITERIA)
def test_only_criteria_that_need_derivatives_have_them_computed_and_once(name: str) -> None:
    seen = state()
    scores = criterion(name)(seen)
    for _ in range(2):
        assert all(np.isfinite(scores[key]).all() for key in scores)
    assert isinstance(seen.derivatives, Made)
    assert seen.derivatives.asked == (name in ("snip", "grasp", "grasp_magnitude", "synflow", "wanda"))
    if seen.derivatives.asked:
        with pytest.raises(ValueError, match=f"Expected a network to differentiate for the criterion '{name}'"):
            criterion(name)(dataclasses.replace(seen, derivatives=None, criterion=name))


def test_a_state_computes_derivatives_of_its_own_weights_when_it_is_replaced() -> None:
    seen = state()
    assert np.array_equal(seen.gradients["b/kernel"], weights(4)["b/kernel"])
    other = dataclasses.replace(seen, derivatives=Made(20))
    assert np.array_equal(other.gradients["b/kernel"], weights(20)["b/kernel"])


def test_change_and_movement_go_by_which_way_a_weight_went() -> None:
    values = {"final": [2.0, -2.0, 0.5, -0.5, 1.0], "initial": [1.0, -1.0, 1.0, -1.0, -1.0]}
    final, initial = ({"a": np.array(values[name])} for name in ("final", "initial"))
    seen = State(final, Mask.ones({"a": (5,)}), np.random.default_rng(0), initial)
    assert criterion("magnitude_change")(seen)["a"].tolist() == [1, 1, -0.5, -0.5, 0]
    assert criterion("movement")(seen)["a"].tolist() == [2, 2, -0.25, -0.25, 2]


def test_grasp_and_its_magnitude_differ_in_the_sign_alone() -> None:
    signed, plain = criterion("grasp")(state()), criterion("grasp_magnitude")(state())
    assert any((signed[key] < 0).any() for key in signed)
    for key in signed:
        np.testing.assert_array_equal(np.abs(signed[key]), plain[key])


@pytest.mark.parametrize(("name", "seed"), [("magnitude", 1), ("initial_magnitude", 2)])
def test_magnitudes_are_absolute_values(name: str, seed: int) -> None:
    scores = criterion(name)(state())
    for key, value in weights(seed).items():
        assert np.array_equal(scores[key], np.abs(value))


def test_random_scores_are_uniform_and_independent_between_weights() -> None:
    mask = Mask.ones({"a": (100, 100), "b": (100, 100)})
    final = {key: np.zeros((100, 100)) for key in mask}
    scores = criterion("random")(State(final, mask, np.random.default_rng(0)))
    for array in scores.values():
        deciles = np.histogram(array, bins=10, range=(0, 1))[0]
        assert deciles.sum() == 10_000
        assert np.abs(deciles - 1000).max() < 5 * np.sqrt(1000)
    assert abs(np.corrcoef(scores["a"].ravel(), scores["b"].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("name", ["initial_magnitude", "magnitude_change", "movement"])
def test_what_compares_with_initial_weights_needs_them(name: str) -> None:
    with pytest.raises(ValueError, match=f"Expected the initial weights for the criterion '{name}'"):
        criterion(name)(dataclasses.replace(state(initial=None), criterion=name))


def test_a_function_is_a_criterion() -> None:
    def own(state: State) -> dict[str, np.ndarray]:
        return dict(state.final)

    as_criterion: Criterion = own
    assert criterion(as_criterion) is own


def test_an_unknown_criterion_is_refused_with_those_known() -> None:
    with pytest.raises(ValueError, match=r"'magnitude', 'initial_magnitude'.*Received: 'snap'"):
        criterion("snap")
    with pytest.raises(TypeError, match="or a function"):
        criterion(3)  # type: ignore[arg-type]


def test_a_state_needs_every_prunable_weight_in_its_shape() -> None:
    seen = state()
    short = {"b/kernel": seen.final["b/kernel"]}
    with pytest.raises(ValueError, match="missing: a/kernel"):
        dataclasses.replace(seen, final=short)
    with pytest.raises(ValueError, match="missing: a/kernel"):
        dataclasses.replace(seen, initial=short)
    with pytest.raises(ValueError, match="shapes: a/kernel"):
        dataclasses.replace(seen, final={**seen.final, "a/kernel": np.zeros((3, 3))})
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.initial = None  # type: ignore[misc]
