"""Layers and weights are chosen by name, place, pattern, kind, class, layer, function, or as the first or last."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import lth_keras as lth
from lth_keras.masking import get_mask, layers_to_choose, mask_model, strip_masks, variables
from lth_keras.pruning.plan import resolve_rates
from tests.masking.models import outputs
from tests.masking.test_inside import subclassed


@functools.cache  # nothing here changes it
def model():
    x = keras.Input((6, 6, 2))
    y = layers.Conv2D(3, 3, activation="relu", name="conv_a")(x)
    y = layers.Conv2D(4, 2, name="conv_b")(y)
    inside = keras.Input((3, 3, 4))
    inner = keras.Model(inside, layers.SeparableConv2D(4, 2)(inside), name="inner")
    y = layers.Flatten()(inner(y))
    y = layers.Dense(5, activation="relu", name="hidden")(y)
    return keras.Model(x, layers.Softmax()(layers.Dense(3, name="logits")(y)))


ALL = ["conv_a", "conv_b", "inner/separable_conv2d", "hidden", "logits"]
CHOICES = {
    "name": ("conv_b", ["conv_b"]),
    "place": ("inner/separable_conv2d", ["inner/separable_conv2d"]),
    "a model inside": ("inner", ["inner/separable_conv2d"]),
    "pattern": ("conv_*", ["conv_a", "conv_b"]),
    "pattern of places": ("inner/*", ["inner/separable_conv2d"]),
    "kind": ("conv", ["conv_a", "conv_b", "inner/separable_conv2d"]),
    "output": ("output", ["logits"]),
    "first": ("first", ["conv_a"]),
    "last": ("last", ["logits"]),
    "class": (layers.Dense, ["hidden", "logits"]),
    "function": (lambda layer: getattr(layer, "units", 0) > 4, ["hidden"]),
    "several": (["first", "last"], ["conv_a", "logits"]),
}


@pytest.mark.parametrize(("choice", "expected"), CHOICES.values(), ids=CHOICES)
def test_excluded_layers_stay_plain_and_do_not_count(choice, expected):
    original = model()
    masked = mask_model(original, exclude=choice)
    assert [c.key for c in layers_to_choose(original)] == ALL
    assert list(dict.fromkeys(key.rpartition("/")[0] for key in get_mask(masked))) == [
        place for place in ALL if place not in expected
    ]
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    np.testing.assert_array_equal(outputs(masked, x)[0], outputs(original, x)[0])


def test_a_layer_itself_is_chosen_also_by_the_copy():
    original = model()
    pruned = lth.prune(original, 0.25, exclude=original.get_layer("hidden"))
    assert not any("hidden" in key for key in get_mask(pruned))
    assert get_mask(pruned).kept == round(0.25 * get_mask(pruned).size)
    hidden = original.get_layer("hidden")
    mask = get_mask(lth.prune(original, {hidden: 0.5, lambda layer: layer is not hidden: 0.1}))
    assert mask.counts()["hidden/kernel"] == round(0.5 * mask["hidden/kernel"].size)


def test_each_group_keeps_its_own_share_and_is_ranked_on_its_own():
    original = model()
    mask = get_mask(lth.prune(original, {"conv": 0.5, "hidden": 0.1, "last": 1.0}))
    sizes, counts = mask.sizes, mask.counts()
    convolutions = [key for key in sizes if "conv" in key]
    assert sum(counts[key] for key in convolutions) == round(0.5 * sum(sizes[key] for key in convolutions))
    assert counts["hidden/kernel"] == round(0.1 * sizes["hidden/kernel"])
    assert counts["logits/kernel"] == sizes["logits/kernel"]
    kept = np.concatenate([np.abs(weights(original)[key][mask[key]]) for key in convolutions])
    gone = np.concatenate([np.abs(weights(original)[key][~mask[key]]) for key in convolutions])
    assert kept.min() >= gone.max()


def test_one_group_of_all_is_the_same_as_a_density():
    original = model()
    for criterion in ("magnitude", "random"):
        assert get_mask(lth.prune(original, {"*": 0.3}, criterion, shots=3)) == get_mask(
            lth.prune(original, 0.3, criterion, shots=3)
        )


def test_weights_are_chosen_by_their_keys():
    mask = get_mask(
        lth.prune(model(), {"*/pointwise_kernel": 1.0, "*[bdns]/kernel": 0.2, "conv_a": 0.2, "*/depthwise_kernel": 0.5})
    )
    assert mask.densities()["inner/separable_conv2d/pointwise_kernel"] == 1
    assert mask.densities()["inner/separable_conv2d/depthwise_kernel"] == 0.5


def weights(original):
    return {key: np.array(value) for key, value in variables(original).items()}


def test_a_name_comes_before_a_kind_and_a_star_after_all():
    mask = get_mask(lth.prune(model(), {"*": 0.5, "conv": 0.2, "conv_b": 1.0}))
    assert mask.densities()["conv_b/kernel"] == 1
    small = ["conv_a/kernel", "inner/separable_conv2d/depthwise_kernel", "inner/separable_conv2d/pointwise_kernel"]
    assert sum(mask.counts()[key] for key in small) == round(0.2 * sum(mask.sizes[key] for key in small))
    rates = {"conv": 0.2, "conv_b": 0.5, "*": 0.1, "embedding": 0.3}
    kinds = {"conv_a/kernel": "conv", "conv_b/kernel": "conv", "hidden/kernel": "dense", "logits/kernel": "output"}
    assert list(resolve_rates(rates, kinds).values()) == [0.2, 0.5, 0.1, 0.1]
    assert list(resolve_rates({"first": 0.0, "*": 0.1}, kinds).values()) == [0.0, 0.1, 0.1, 0.1]


def test_layers_inside_wrappers_custom_layers_and_subclassed_models_are_excluded():
    x = keras.Input((6, 4))
    y = layers.Bidirectional(layers.LSTM(3))(x)
    original = keras.Model(x, layers.Dense(2)(y))
    masked = mask_model(original, exclude="bidirectional/forward_lstm")
    assert list(get_mask(masked)) == [
        "bidirectional/backward_lstm/lstm_cell/kernel",
        "bidirectional/backward_lstm/lstm_cell/recurrent_kernel",
        "dense/kernel",
    ]
    assert strip_masks(masked).count_params() == original.count_params()
    built = subclassed()
    keys = list(get_mask(mask_model(built, exclude=[built.block.attention, "last"])))
    assert not [key for key in keys if "attention" in key] and "transformer/dense/kernel" in keys


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"exclude": "convolution*"}, ValueError, "'convolution\\*', which matches none of conv_a, conv_b"),
        ({"exclude": layers.LSTM}, ValueError, "LSTM, which matches none"),
        ({"exclude": 3}, TypeError, "Expected exclude to be names"),
        ({"exclude": "*"}, ValueError, "Nothing to prune .* exclude to leave layers .* logits left out"),
        (
            {"exclude": layers.Dense(3, name="hidden")},
            ValueError,
            "the Dense 'hidden' itself, perhaps of another",
        ),
        ({"density": {"conv": 0.5}}, ValueError, "none for hidden/kernel, logits/kernel. Add one"),
        ({"density": {"*": 0.5, "last": 0.9, "logit?": 0.1}}, ValueError, "logits/kernel matched by 'last' and 'logit"),
        ({"density": {"conv": 1.5, "dense": 0.1, "last": 1.0}}, ValueError, "density in \\(0, 1\\]"),
        ({"density": {}}, ValueError, "none for conv_a/kernel"),
        ({"density": {"hidden": 1e-4, "*": 0.5}}, ValueError, "weights of hidden/kernel: .* 0.0001, which keeps 0"),
    ],
)
def test_choices_that_cannot_be_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        lth.prune(model(), **{"density": 0.5, **arguments})


def test_a_choice_may_leave_nothing_to_others():
    original = model()
    assert lth.get_mask(lth.prune(original, {"*": 0.3, "*kernel": 0.5})) == lth.get_mask(lth.prune(original, 0.5))


def test_a_masked_layer_cannot_be_excluded():
    with pytest.raises(ValueError, match="no mask yet. Received: logits"):
        lth.prune(lth.prune(model(), 0.5), 0.2, exclude="last")


def test_a_name_that_means_two_layers_is_refused():
    late, early = layers.Dense(4, name="dense_1"), layers.Dense(4, name="dense")
    x = keras.Input((4,))
    made = keras.Model(x, layers.Dense(2, name="last_one")(late(early(x))))
    assert [c.key for c in layers_to_choose(made)] == ["dense", "dense_1", "last_one"]
    x = keras.Input((4,))
    swapped = keras.Model(x, early(late(x)))  # places are counted in the order of the model
    with pytest.raises(ValueError, match="a name that means one layer"):
        mask_model(swapped, exclude="dense")
