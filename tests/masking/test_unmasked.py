"""What is not masked is named in a warning, with its share of the weights."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.masking import get_mask, mask_model, unmasked_layers, warn_of_unmasked
from lth_keras.models import conv_2, lenet_300_100, newsgroups_end2end, reuters_cnn
from lth_keras.pruning.oneshot import prune
from lth_keras.training.network import Network
from tests.few import few
from tests.masking.models import OwnDense, Scale


class Kernel(layers.Layer):
    """A layer of the user's with a kernel."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")

    def call(self, x):
        return x @ self.kernel


class Holder(layers.Layer):
    """A layer of the user's that holds one with a kernel and a Dense layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = Kernel(), layers.Dense(4)

    def call(self, x):
        return self.second(self.first(x))


def after(shape, *inside):
    return keras.Sequential([keras.Input(shape), *inside, layers.Flatten(), layers.Dense(2)])


# What is named, of which class, with how many weights.
CASES = {
    "a subclass of Dense": (lambda: after((4,), OwnDense(3, name="own")), {"own": ("OwnDense", 12)}),
    "in a wrapper": (
        lambda: after((5, 4), layers.TimeDistributed(OwnDense(3))),
        {"time_distributed": ("TimeDistributed", 12)},
    ),
    "a kernel of the user's": (lambda: after((3,), Kernel()), {"kernel": ("Kernel", 12)}),
    "beside a layer that is masked": (lambda: after((3,), Holder()), {"holder/kernel": ("Kernel", 12)}),
    "nested": (
        lambda: after((5, 3), keras.Sequential([keras.Input((5, 3)), Kernel(), layers.Dense(3)], name="inner")),
        {"inner/kernel": ("Kernel", 12)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_layers_without_masks_are_named_with_their_share(name):
    build, expected = CASES[name]
    with pytest.warns(UserWarning, match="Not masked") as caught:
        masked = mask_model(build())
    found, weights = unmasked_layers(masked)
    assert {one.place: (one.kind, one.weights) for one in found} == expected
    assert weights == get_mask(masked).size + sum(count for _, count in expected.values())
    (message,) = {str(warning.message) for warning in caught if "Not masked" in str(warning.message)}
    for place, (kind, count) in expected.items():
        assert f"{place} ({kind}, {count / weights:.1%})" in message
    assert f"in all {sum(count for _, count in expected.values()) / weights:.1%} of the weights" in message


def test_prune_and_a_network_warn_once():
    build = CASES["a subclass of Dense"][0]
    network = {"optimizer": keras.optimizers.Adam, "loss": "mse", "batch_size": 4}
    for function in (lambda: prune(build(), 0.5), lambda: Network(build, **network).draw_weights(1, "initial")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function()
        assert len([warning for warning in caught if "Not masked" in str(warning.message)]) == 1


def everything_masked():
    x = keras.Input((6, 6, 3))
    hidden = layers.BatchNormalization()(layers.Conv2D(4, 2)(x))
    hidden = layers.PReLU()(layers.LayerNormalization(axis=(1, 2, 3))(Scale()(hidden)))
    hidden = layers.TimeDistributed(layers.SpectralNormalization(layers.Dense(3)))(hidden)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(hidden)))


SMALL = {"words": 50, "dimension": 8, "tokens": 30, "classes": 4}
OF_PAPERS = [lenet_300_100, conv_2, lambda: newsgroups_end2end(**SMALL), lambda: reuters_cnn(**SMALL)]


@few("build", [everything_masked, *OF_PAPERS], everything_masked, OF_PAPERS[3])
def test_nothing_is_said_where_all_kernels_are_masked(build):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unmasked(mask_model(build()))


def test_lora_and_quantised_layers_have_no_other_kernels():
    model = after((4,), layers.Dense(8), layers.Dense(4))
    model.layers[0].enable_lora(2)
    model.layers[1].quantize("int8")
    found, weights = unmasked_layers(mask_model(model))
    assert (found, weights) == ([], 4 * 8 + 8 * 4 + 4 * 2)
    dense = after((3, 4), layers.EinsumDense("abc,cd->abd", (3, 8)))
    dense.layers[0].quantize("int8")
    assert [(one.place, one.weights) for one in unmasked_layers(dense)[0]] == [("einsum_dense", 32), ("dense", 48)]
    assert np.isclose(sum(one.weights for one in unmasked_layers(dense)[0]), unmasked_layers(dense)[1])


def test_the_reason_is_given():
    model = after((4,), OwnDense(3, name="own"), layers.Dense(3))
    model.layers[1].trainable = False
    reasons = {one.place: one.reason for one in unmasked_layers(mask_model(model, frozen=False))[0]}
    assert "lth_keras.register_prunable(OwnDense, weights=[...])" in reasons["own"]
    assert reasons["dense"] == "it is frozen"
