"""Composites of criteria: their closed forms, their names, and what is refused."""

from __future__ import annotations

from itertools import permutations

import keras
import numpy as np
import pytest

from lth_keras.criteria import (
    CRITERIA,
    Stacked,
    State,
    bimodal,
    criterion,
    magnitude,
    parse_call,
    random,
    scores_as_weights,
    snip,
    synflow,
    takes_data,
)
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, mask_model, set_mask, variables
from lth_keras.pruning.model_derivatives import ModelDerivatives
from lth_keras.pruning.oneshot import prune
from tests import tiny
from tests.few import few

LOSS = "sparse_categorical_crossentropy"


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """8-16-3 with half of its weights pruned, the same on both backends."""
    masked = mask_model(tiny.build())
    generator = np.random.default_rng(0)
    for variable in variables(masked).values():
        variable.assign(generator.normal(size=variable.shape))
    set_mask(masked, {key: generator.random(kept.shape) < 0.5 for key, kept in get_mask(masked).items()})
    return masked


@pytest.fixture(scope="module")
def state(model: keras.Model) -> State:
    x, y = tiny.data()["train"]
    weights = {key: keras.ops.convert_to_numpy(variable) for key, variable in variables(model).items()}
    derivatives = ModelDerivatives(model, LOSS).on(lambda: (x, y))
    return State(weights, get_mask(model), np.random.default_rng(1), weights, derivatives)


def order(scores: dict[str, np.ndarray] | object, mask: Mask) -> np.ndarray:
    return np.argsort(np.concatenate([np.asarray(scores[key])[kept] for key, kept in mask.items()]))  # type: ignore[index]


def test_scores_as_weights_are_shares_of_the_largest_with_the_weights_signs(state: State) -> None:
    for scale in ("layer", "global"):
        weights, scores = scores_as_weights(snip, state, scale), snip(state)
        largest = {key: scores[key][kept].max() for key, kept in state.mask.items()}
        if scale == "global":
            largest = dict.fromkeys(largest, max(largest.values()))
        for key, kept in state.mask.items():
            expected = np.sign(state.final[key]) * scores[key] / largest[key]
            np.testing.assert_allclose(weights[key][kept], expected[kept], rtol=1e-6)
            assert np.abs(weights[key][kept]).max() == 1 or scale == "global"
            assert weights[key].dtype == np.float32
        np.testing.assert_array_equal(weights["hidden/bias"], state.final["hidden/bias"])


def test_bimodal_weights_are_one_to_two_root_mean_squares(state: State) -> None:
    weights = bimodal(magnitude, state)
    for key, kept in state.mask.items():
        own, made = state.final[key][kept], weights[key][kept]
        rms = np.sqrt(np.mean(own**2))
        np.testing.assert_allclose(made, np.sign(own) * rms * (1 + np.abs(own) / np.abs(own).max()), rtol=1e-5)


def test_stacked_is_the_second_criterion_at_the_scores_of_the_first(state: State) -> None:
    """By hand for SynFlow of two layers without activations between their magnitudes: |w| (1^T |V|) and (|W| 1) |v|."""
    shares = {
        key: np.abs(value) * state.mask[key]
        for key, value in scores_as_weights(snip, state).items()
        if key in state.mask
    }
    hidden, output = shares["hidden/kernel"], shares["output/kernel"]
    expected = {
        "hidden/kernel": hidden * output.sum(axis=1),
        "output/kernel": hidden.sum(axis=0)[:, None] * output,
    }
    found = Stacked(snip, synflow)(state)
    factors = [
        found[key][kept & (expected[key] > 0)] / expected[key][kept & (expected[key] > 0)]
        for key, kept in state.mask.items()
    ]
    np.testing.assert_allclose(np.concatenate(factors), factors[0][0], rtol=1e-4)


def test_magnitude_on_scores_of_one_scale_ranks_as_they_do(state: State) -> None:
    for name in ("snip", "synflow", "grasp_magnitude"):
        alone = criterion(name)(state)
        np.testing.assert_array_equal(
            order(criterion(f"stacked({name},magnitude,global)")(state), state.mask), order(alone, state.mask)
        )
    by_layer = order(criterion("stacked(snip,magnitude)")(state), state.mask)
    assert (by_layer != order(snip(state), state.mask)).any()


def test_synflow_on_magnitudes_is_synflow_whatever_the_scale(state: State) -> None:
    for scale in ("", ",global"):
        scores = criterion(f"stacked(magnitude,synflow{scale})")(state)
        np.testing.assert_array_equal(order(scores, state.mask), order(synflow(state), state.mask))


PAIRS = [*permutations(["magnitude", "snip", "grasp", "synflow"], 2)]


@few(("first", "second"), PAIRS, ("magnitude", "snip"), ("synflow", "magnitude"))
def test_every_ordered_pair_prunes_exactly_and_the_same_each_time(first: str, second: str) -> None:
    keras.utils.set_random_seed(0)
    model, data = tiny.build(), tiny.data()["train"]
    masks = [get_mask(prune(model, 0.2, f"stacked({first},{second})", data=data, loss=LOSS, shots=2)) for _ in range(2)]
    assert masks[0] == masks[1] and masks[0].kept == round(0.2 * 176)


def test_names_are_read_and_say_whether_data_are_taken() -> None:
    assert parse_call(" stacked( snip ,stacked(a,b) )") == ("stacked", ["snip", "stacked(a,b)"])
    made = criterion("stacked(snip, synflow,global)")
    assert isinstance(made, Stacked) and made.parts == (snip, synflow) and made.scale == "global"
    assert made.__name__ == "stacked(snip,synflow,global)"
    assert takes_data(made) and takes_data(criterion("stacked(synflow,stacked(magnitude,grasp))"))
    assert not takes_data(criterion("stacked(synflow,magnitude)")) and not takes_data(random)
    assert criterion(made) is made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stacked(snip,synflow", "brackets that close"),
        ("stacked(snip),synflow)", "brackets that close"),
        ("stacked", "Expected 2 criteria, and after that 'layer' or 'global' or nothing"),
        ("stacked(snip)", "Expected 2 criteria"),
        ("stacked(snip,,layer)", "Expected 2 criteria"),
        ("stacked(snip,synflow,model)", "Expected 2 criteria"),
        ("stacked(snip,synflo)", r"'stacked\(NAME,NAME\)', 'learned\(FILE\)', or a function. Received: 'synflo'"),
        ("snip(synflow)", "Expected a criterion: one of 'magnitude'"),
        ("", "Expected a criterion"),
    ],
)
def test_what_is_no_composite_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        criterion(text)


def test_scores_that_are_not_finite_and_unknown_scales_are_refused(state: State) -> None:
    def broken(state: State) -> dict[str, np.ndarray]:
        return {key: value * (np.nan if "output" in key else 1) for key, value in magnitude(state).items()}

    with pytest.raises(ValueError, match="finite scores to use as weights.*infinity in output/kernel"):
        Stacked(broken, synflow)(state)
    with pytest.raises(ValueError, match="Expected scale to be one of 'layer', 'global'. Received: 'all'"):
        Stacked(snip, synflow, "all")
    assert set(CRITERIA) >= {"snip", "synflow"}
