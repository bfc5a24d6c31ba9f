"""Loss, outputs and form of the labels: the metric is what scikit-learn computes of the outputs, or it is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses
from sklearn import metrics

from lth_keras import Network
from tests import tiny
from tests.few import few

N = 23
generator = np.random.default_rng(3)
X = generator.normal(size=(N, 6)).astype(np.float32)
CLASS = generator.integers(0, 3, N)
YES = (X[:, 0] > 0.2).astype(np.int64)
MANY = (generator.random((N, 3)) < 0.4).astype(np.int64)
TARGET = (10 * X[:, 0] + X[:, 1]).astype(np.float32)
TARGETS = np.stack([TARGET, -TARGET, X[:, 2]], axis=1)
SHARES = np.exp(X[:, :3]) / np.exp(X[:, :3]).sum(1, keepdims=True)
ONE_HOT = np.eye(3, dtype=np.int64)[CLASS]
NONE_TOO = np.where(np.arange(N) % 4 == 0, -1, CLASS)
AT = generator.integers(0, 3, (N, 4))
PLACES = X[:, None, :].repeat(4, axis=1) + generator.normal(size=(N, 4, 6)).astype(np.float32)


def own_binary(y: Any, outputs: Any) -> Any:
    """A loss of the user's own."""
    return keras.ops.mean(keras.ops.square(y - outputs), axis=-1)


def own_indices(y: Any, outputs: Any) -> Any:
    """One that takes class indices."""
    return keras.losses.sparse_categorical_crossentropy(y, outputs)


def accuracy(threshold: float) -> Any:
    return lambda y, out: metrics.accuracy_score(np.ravel(y) > 0.5, np.ravel(out) > threshold)


def highest(y: Any, out: Any) -> float:
    true = np.argmax(y, -1) if np.shape(y) == out.shape else np.ravel(y)
    return float(metrics.accuracy_score(np.ravel(true), np.ravel(out.argmax(-1))))


def f1(threshold: float) -> Any:
    return lambda y, out: metrics.f1_score(np.asarray(y) > 0.5, out > threshold, average="micro")


def mae(y: Any, out: Any) -> float:
    return float(metrics.mean_absolute_error(np.reshape(y, (N, -1)), out))


def cosine(y: Any, out: Any) -> float:
    return float(metrics.pairwise.paired_cosine_distances(y, out).mean() * -1 + 1)


def bce(**options: Any) -> Any:
    return losses.BinaryCrossentropy(from_logits=True, **options)


def without_none() -> Any:
    return losses.SparseCategoricalCrossentropy(ignore_class=-1)


def highest_of_counted(y: Any, out: Any) -> float:
    return highest(y[y >= 0], out[y >= 0])


# loss, units and activation, labels, name of the metric, its value
RIGHT = {
    "sigmoid, integers": ("binary_crossentropy", 1, "sigmoid", YES, "accuracy", accuracy(0.5)),
    "sigmoid, booleans": ("binary_crossentropy", 1, "sigmoid", YES > 0, "accuracy", accuracy(0.5)),
    "sigmoid, column of float64": ("BinaryCrossentropy", 1, "sigmoid", YES[:, None] * 1.0, "accuracy", accuracy(0.5)),
    "focal, sigmoid": ("binary_focal_crossentropy", 1, "sigmoid", YES, "accuracy", accuracy(0.5)),
    "one logit": (bce(), 1, None, YES, "accuracy", accuracy(0.0)),
    "one logit, named loss": (bce(name="mine"), 1, None, YES.astype(np.float32), "accuracy", accuracy(0.0)),
    "hinge, signs": ("hinge", 1, "tanh", 2 * YES - 1, "accuracy", accuracy(0.0)),
    "hinge, 0 and 1": ("hinge", 1, None, YES, "accuracy", accuracy(0.0)),
    "squared hinge, signs": ("squared_hinge", 1, None, (2.0 * YES - 1)[:, None], "accuracy", accuracy(0.0)),
    "hinge, several": ("hinge", 3, None, 2 * MANY - 1, "micro_f1", f1(0.0)),
    "multi-label, integers": ("binary_crossentropy", 3, "sigmoid", MANY, "micro_f1", f1(0.5)),
    "multi-label, booleans": ("binary_crossentropy", 3, "sigmoid", MANY > 0, "micro_f1", f1(0.5)),
    "multi-label, float64": ("binary_focal_crossentropy", 3, "sigmoid", MANY * 1.0, "micro_f1", f1(0.5)),
    "multi-label, logits": (bce(), 3, None, MANY, "micro_f1", f1(0.0)),
    "dice": ("dice", 3, "sigmoid", MANY, "micro_f1", f1(0.5)),
    "tversky": ("tversky", 3, "sigmoid", MANY * 1.0, "micro_f1", f1(0.5)),
    "indices": ("sparse_categorical_crossentropy", 3, "softmax", CLASS, "accuracy", highest),
    "indices, one of none": (without_none(), 3, "softmax", NONE_TOO, "accuracy", highest_of_counted),
    "indices, column of floats": (
        "sparse_categorical_crossentropy",
        3,
        None,
        CLASS[:, None] * 1.0,
        "accuracy",
        highest,
    ),
    "generalised": (losses.CategoricalGeneralizedCrossEntropy(), 3, "softmax", CLASS, "accuracy", highest),
    "one-hot integers": ("categorical_crossentropy", 3, "softmax", ONE_HOT, "accuracy", highest),
    "one-hot booleans": ("categorical_focal_crossentropy", 3, "softmax", ONE_HOT > 0, "accuracy", highest),
    "one-hot, hinge": ("categorical_hinge", 3, None, ONE_HOT * 1.0, "accuracy", highest),
    "shares": ("categorical_crossentropy", 3, "softmax", SHARES, "accuracy", highest),
    "shares, divergence": ("kl_divergence", 3, "softmax", SHARES, "accuracy", highest),
    "squared error": ("mse", 1, None, TARGET, "mae", mae),
    "squared error, integers": ("mse", 1, None, np.round(TARGET).astype(int), "mae", mae),
    "squared error, three targets": ("mean_squared_error", 3, None, TARGETS.astype(np.float64), "mae", mae),
    "absolute error": ("mae", 1, None, TARGET[:, None], "mae", mae),
    "percentage error": ("mape", 3, None, TARGETS, "mae", mae),
    "logarithmic error": ("msle", 1, "relu", np.abs(TARGET), "mae", mae),
    "huber": (losses.Huber(2.0), 3, None, TARGETS, "mae", mae),
    "log-cosh": ("log_cosh", 1, None, TARGET, "mae", mae),
    "poisson": ("poisson", 1, "exponential", np.abs(TARGET).astype(int), "mae", mae),
    "cosine": ("cosine_similarity", 3, None, TARGETS, "cosine_similarity", cosine),
    "own, one-hot integers": (own_binary, 3, "softmax", ONE_HOT, "accuracy", highest),
    "own, one-hot float64": (own_binary, 3, None, ONE_HOT * 1.0, "accuracy", highest),
    "own, several yes or no": (own_binary, 3, "sigmoid", MANY, "micro_f1", f1(0.5)),
    "own, sigmoid": (own_binary, 1, "sigmoid", YES, "accuracy", accuracy(0.5)),
    "own, signs": (own_binary, 1, "tanh", 2.0 * YES - 1, "accuracy", accuracy(0.0)),
    "own, targets": (own_binary, 3, None, TARGETS.astype(np.float64), "mae", mae),
    "own, indices": (own_indices, 3, "softmax", CLASS, "accuracy", highest),
    "indices at places": ("sparse_categorical_crossentropy", 3, "softmax", AT, "accuracy", highest),
}
REFUSED = {
    "fractions as indices": (
        "sparse_categorical_crossentropy",
        3,
        "softmax",
        CLASS + 0.5,
        "whole numbers.*Received: .*5",
    ),
    "index beyond": (
        "sparse_categorical_crossentropy",
        3,
        "softmax",
        CLASS + 1,
        "0 ... 2.*Received: labels from 1 to 3",
    ),
    "one-hot as indices": ("sparse_categorical_crossentropy", 3, "softmax", ONE_HOT, "use categorical_crossentropy"),
    "2 of a sigmoid": ("binary_crossentropy", 1, "sigmoid", 2 * YES, "Received: values from 0 to 2"),
    "-1 of a sigmoid": (bce(), 1, None, 2 * YES - 1, "Received: values from -1 to 1"),
    "counts of labels": ("binary_crossentropy", 3, "sigmoid", 2 * MANY, "Received: values from 0 to 2"),
    "indices as multi-label": (
        "binary_crossentropy",
        3,
        "sigmoid",
        CLASS,
        r"shape \(23, 3\), 1 for an .* Received: \(23,\)",
    ),
    "indices as one-hot": ("categorical_crossentropy", 3, "softmax", CLASS, "use sparse_categorical_crossentropy"),
    "several of one-hot": ("categorical_crossentropy", 3, "softmax", 1 - ONE_HOT, "add up to 1.*sums from 2 to 2"),
    "one softmax": ("categorical_crossentropy", 1, "softmax", YES, "several outputs with CategoricalCrossentropy"),
    "0.3 of a hinge": ("hinge", 1, None, 0.3 * YES, "labels -1 and 1, or 0 and 1, with Hinge"),
    "another width": ("mse", 3, None, TARGET, r"outputs' shape \(23, 3\)"),
    "negative counts": ("poisson", 1, "exponential", TARGET, "at least 0 with Poisson"),
    "circle": ("circle", 3, None, CLASS, "metric= with the loss Circle"),
    "own, a logit or a probability": (own_binary, 1, None, YES, "can be logits or probabilities"),
    "own, indices beyond": (own_indices, 3, "softmax", CLASS + 1, "Expected labels and outputs that determine"),
}


def network(loss: Any, units: int, activation: str | None, y: np.ndarray, **options: Any) -> Network:
    """A network whose test split has these labels; its other splits too."""
    shape = (4, 6) if y is AT else (6,)
    made = Network(
        lambda: keras.Sequential([keras.Input(shape), layers.Dense(units, activation, bias_initializer="uniform")]),
        optimizer=tiny.adam,
        loss=loss,
        batch_size=5,
        evaluation_batch_size=10,
        jit_compile=None if keras.backend.backend() == "jax" else False,
        **options,
    )
    x = PLACES if y is AT else X
    made.load(dict.fromkeys(("train", "validation", "test"), (x, y)))
    return made


FAST = ("sigmoid, booleans", "one logit", "hinge, signs", "multi-label, logits", "indices", "one-hot integers") + (
    *("squared error, three targets", "own, one-hot float64"),
)


@few("case", RIGHT, *FAST)
def test_the_metric_is_the_one_of_scikit_learn(case: str) -> None:
    loss, units, activation, y, name, value = RIGHT[case]
    made = network(loss, units, activation, y)
    made.weights = dict(made.draw_weights(0))
    outputs = keras.ops.convert_to_numpy(made.model(PLACES if y is AT else X))
    assert made.metric == name
    assert made.evaluate("test")[1] == pytest.approx(value(y, outputs), rel=2e-5, abs=1e-6)


@few("case", ["indices", "one-hot integers", "indices, one of none"], "indices, one of none")
def test_confusion_is_the_one_of_scikit_learn(case: str) -> None:
    loss, units, activation, y, _, _ = RIGHT[case]
    made = network(loss, units, activation, y)
    made.weights = dict(made.draw_weights(0))
    curves = made.train(1, seed=0, confusion=True)
    predicted, true = np.argmax(keras.ops.convert_to_numpy(made.model(X)), -1), y.argmax(-1) if y.ndim == 2 else y
    expected = metrics.confusion_matrix(true[true >= 0], predicted[true >= 0], labels=range(3))
    np.testing.assert_array_equal(curves.test_confusion[-1], expected)


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_the_loss_does_not_take_are_refused(case: str) -> None:
    loss, units, activation, y, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        network(loss, units, activation, y)
