"""Whether training by rows is what the dense optimiser does: the loss of every step of an epoch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tyro
from matplotlib.figure import Figure

from benchmarks import report
from benchmarks.embedding_step import BATCH_SIZE, LOSS, documents
from datasets import newsgroups
from datasets.splits import Split
from lth_keras import Network, seeds
from lth_keras.masking import variables
from lth_keras.models import newsgroups_end2end
from lth_keras.training import BatchOrder

DENSE, EXACT, LAZY = "every row, every step", "rows in use, exact", "rows in use, lazy"
KERAS = "Keras train_on_batch"


@dataclass(frozen=True)
class Config:
    """Losses of the first steps of Newsgroups-End2End from the same weights on the same batches, without dropout.

    By Keras' Adam, which moves every row at every step; by this library's loop, which makes the updates of unused rows
    up later; by its lazy variant, which leaves them out; and by plain Keras' `train_on_batch`, which on TensorFlow
    gives Adam the gradient of a row that a batch repeats in parts, so that it squares them before it adds them up. Each
    in a process of its own of up to 11 GB; ten minutes in all on two idle cores.
    """

    steps: int = 169
    """Steps; 169 are an epoch of the training documents without the validation split."""
    dimension: int = 300
    """Columns of each embedding; fewer than the thesis' 300 are a smaller model, to try this out."""
    out: Path = report.OUT
    """Directory for embedding_agreement.json, .md and .png."""


def build(dimension: int) -> keras.Model:
    """The plain Keras model without dropout, whose draws differ from one way to the other."""
    return newsgroups_end2end(newsgroups.ROWS, dimension=dimension, dropout=0.0)


def by_keras(steps: int, dimension: int) -> list[float]:
    """Losses of Keras' own `train_on_batch` on the plain model."""
    _, (x, y) = documents()
    model = build(dimension)
    model.compile(keras.optimizers.Adam(), LOSS)
    initial = Network(lambda: build(dimension), optimizer=keras.optimizers.SGD, loss=LOSS, batch_size=1).draw_weights(0)
    for key, variable in variables(model).items():
        variable.assign(initial[key])
    losses = []
    for batch in BatchOrder(len(x), BATCH_SIZE, seeds.stream(0, "order")).take(steps):
        model.reset_metrics()
        losses.append(float(model.train_on_batch(x[batch], y[batch])))
    return losses


def by_loop(steps: int, dimension: int, embeddings: str) -> list[float]:
    """Losses of `Network.train`; `dense` applies Keras' Adam to whole gradients of whole tables."""
    _, (x, y) = documents()
    network = Network(
        lambda: build(dimension),
        optimizer=keras.optimizers.Adam,
        loss=LOSS,
        batch_size=BATCH_SIZE,
        evaluate_every=1,
        test_every=1,
        embeddings=embeddings,
    )
    network.weights = network.draw_weights(0)
    one = Split(x[:1], y[:1])
    network.load({"train": (x, y), "validation": one, "test": one})
    return network.train(steps, seed=0).train_loss.tolist()


def measure(config: Config) -> dict[str, Any]:
    """The result, as JSON values."""
    ways: dict[str, tuple[Callable[..., list[float]], tuple[Any, ...]]] = {
        DENSE: (by_loop, ("dense",)),
        EXACT: (by_loop, ("exact",)),
        LAZY: (by_loop, ("lazy",)),
        KERAS: (by_keras, ()),
    }
    losses = {}
    for name, (function, arguments) in ways.items():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            losses[name] = pool.submit(function, config.steps, config.dimension, *arguments).result()
        print(
            f"{name}: loss {losses[name][0]:.4f} at step 1, {losses[name][-1]:.4f} at step {config.steps}", flush=True
        )
    dense = np.array(losses[DENSE])
    return {
        "data": documents()[0],
        "settings": {"steps": config.steps, "dimension": config.dimension},
        "losses": losses,
        "differences": {name: float(np.abs(np.array(each) - dense).max()) for name, each in losses.items()},
        "mean_differences": {name: float(np.abs(np.array(each) - dense).mean()) for name, each in losses.items()},
    }


def figure(result: dict[str, Any]) -> Figure:
    """The losses by step, and how far they are from Keras' own."""
    drawn = Figure(figsize=(11, 4), layout="constrained")
    left, right = drawn.subplots(1, 2)
    dense = np.array(result["losses"][DENSE])
    step = np.arange(1, len(dense) + 1)
    styles = {
        DENSE: ("0.2", "-", 3.0),
        EXACT: ("#d95f02", "--", 1.4),
        LAZY: ("#5ab4ac", ":", 1.6),
        KERAS: ("#08306b", "-.", 1.2),
    }
    for name, (color, line, width) in styles.items():
        values = np.array(result["losses"][name])
        left.plot(step, values, line, color=color, linewidth=width, label=name)
        if name != DENSE:
            right.semilogy(step, np.maximum(np.abs(values - dense), 1e-9), line, color=color, label=name)
    left.set(xlabel="step", ylabel="loss of the batch")
    right.set(xlabel="step", ylabel=f"difference from: {DENSE}")
    left.legend(frameon=False)
    right.legend(frameon=False)
    return drawn


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    last = result["settings"]["steps"]
    rows = [
        [name, f"{losses[0]:.4f}", f"{losses[-1]:.4f}"]
        + [f"{result[which][name]:.2g}" for which in ("mean_differences", "differences")]
        for name, losses in result["losses"].items()
    ]
    columns = ["way", "loss at step 1", f"loss at step {last}", "mean difference", "greatest difference"]
    return "\n".join(
        [
            "# Training by rows beside the dense optimiser",
            "",
            f"Newsgroups-End2End without dropout, {16 * newsgroups.ROWS * result['settings']['dimension']:,} embedding "
            f"weights, {last} steps of 60 documents of {result['data']}, from the same weights on the same batches. "
            f"Differences are of a step's loss from that of Keras' Adam on every row at every step ({DENSE}). {KERAS} "
            "is the plain model: on TensorFlow its Adam gets the gradient of a row that a batch repeats in parts, and "
            "squares them before adding them up.",
            "",
            "![losses](embedding_agreement.png)",
            "",
            report.table(columns, rows),
            "",
            report.about(result),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, draws and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.embedding_agreement", args=arguments)
    result = {**report.header("embedding_agreement"), **measure(config)}
    print(report.write(result, markdown, config.out))
    figure(result).savefig(config.out / "embedding_agreement.png", dpi=120)


if __name__ == "__main__":
    main()
