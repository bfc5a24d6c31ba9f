"""Compares training of embeddings by rows with the dense optimiser: losses of an epoch."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from benchmarks.harness import Case, Contender
from benchmarks.subjects import BATCH_SIZE, LOSS, data_name, one_evaluated, subject
from lth_keras import Network, seeds
from lth_keras.masking import variables
from lth_keras.models import newsgroups_end2end
from lth_keras.training import BatchOrder

STEPS = 169
ENGINES = {"every row, every step": "compiled", "by rows": "rows", "by rows, lazy": "rows:lazy"}


def builder(small: bool) -> Callable[[], keras.Model]:
    """The plain model without dropout, whose draws would differ; small models are still trained by rows."""
    return lambda: newsgroups_end2end(dimension=70 if small else 300, dropout=0.0)


def by_search(small: bool, steps: int, engine: str) -> dict[str, float]:
    """Losses of this library's loop; `compiled` applies Keras' Adam to whole gradients of whole tables."""
    network = Network(
        builder(small),
        optimizer=keras.optimizers.Adam,
        loss=LOSS,
        batch_size=BATCH_SIZE,
        evaluate_every=1,
        test_every=1,
        engine=engine,
    )
    network.weights = network.draw_weights(0)
    network.load(one_evaluated(subject("end2end", small).data()))
    return losses(network.train(steps, seed=0).train_loss)


def by_keras(small: bool, steps: int) -> dict[str, float]:
    """Losses of Keras' own `train_on_batch`, from the same weights on the same batches."""
    x, y = subject("end2end", small).data()["train"]
    model = builder(small)()
    model.compile(keras.optimizers.Adam(), LOSS)
    drawn = Network(builder(small), optimizer=keras.optimizers.SGD, loss=LOSS, batch_size=1).draw_weights(0)
    for key, variable in variables(model).items():
        variable.assign(drawn[key])
    found = []
    for batch in BatchOrder(len(x), BATCH_SIZE, seeds.stream(0, "order")).take(steps):
        model.reset_metrics()
        found.append(float(model.train_on_batch(x[batch], y[batch])))
    return losses(found)


def losses(found: object) -> dict[str, float]:
    """Summary of the losses of all steps."""
    array = np.asarray(found, np.float64)
    return {"loss at the first step": array[0], "mean loss": array.mean(), "loss at the last step": array[-1]}


def contenders(small: bool) -> dict[str, Contender]:
    """Keras' Adam on every row at every step, this library's engines by rows, and plain Keras."""
    steps = 3 if small else STEPS
    found = {name: Contender("tensorflow", by_search, (small, steps, engine)) for name, engine in ENGINES.items()}
    return found | {"Keras train_on_batch": Contender("tensorflow", by_keras, (small, steps))}


CASE = Case(
    "Training by rows beside the dense optimiser",
    f"Newsgroups-End2End without dropout, {STEPS} steps of 60 documents, from the same weights on the same batches. "
    "`train_on_batch` on TensorFlow gives Adam the gradient of a repeated row in parts, so that it squares them before "
    "it adds them up. A process takes up to 11 GB.",
    contenders,
    data_name("end2end"),
    rounds=1,
)
