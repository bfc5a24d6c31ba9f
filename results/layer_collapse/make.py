"""Which criteria cut Conv-6 through before any training: `python -m results.layer_collapse.make`.

Tanaka et al. (2020), arXiv:2006.05467, figure 1, in miniature: the smallest layer against the density of the network.
Writes layer_collapse.json and the figure beside this file. With --layers it prints instead which layers go empty first,
also of weights that are not truncated; that takes no data.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from matplotlib.figure import Figure

import lth_keras as lth
from datasets import cifar10
from lth_keras.models import conv_6
from lth_keras.plots import save_figure
from lth_keras.plots.style import DASH_DOT, DASHED, DOTTED, BranchStyle, new_figure

HERE = Path(__file__).parent
DENSITIES = [float(f"{density:.3g}") for density in np.logspace(-0.5, -4.5, 17)]
SEEDS = (0, 1, 2)
WAYS: dict[str, dict[str, Any]] = {
    "random": {"criterion": "random"},
    "magnitude": {"criterion": "magnitude"},
    "snip": {"criterion": "snip"},
    "grasp": {"criterion": "grasp"},
    "synflow, 1 shot": {"criterion": "synflow"},
    "synflow, 100 shots": {"criterion": "synflow", "shots": 100},
}
LOOKS = {
    "random": BranchStyle("#666666", DASH_DOT, "D", "random"),
    "magnitude": BranchStyle("#d1541b", DASHED, "s", "magnitude"),
    "snip": BranchStyle("#2f7d4f", DOTTED, "P", "SNIP"),
    "grasp": BranchStyle("#c98a00", DASH_DOT, "v", "GraSP"),
    "synflow, 1 shot": BranchStyle("#7a6bd0", DASHED, "^", "SynFlow, 1 shot"),
    "synflow, 100 shots": BranchStyle("#08357a", "solid", "o", "SynFlow, 100 shots"),
}


def least_layers(seed: int) -> dict[str, list[int]]:
    """For each way the weights left in the smallest layer, by density; 0 where the network is cut through."""
    keras.utils.set_random_seed(seed)
    model = conv_6()
    splits = cifar10.load(seed=seed)
    arguments = {
        "scope": "global",
        "data": (splits.train.x, splits.train.y),
        "loss": "sparse_categorical_crossentropy",
        "samples_per_class": 10,
        "seed": seed,
        "min_per_layer": 0,
    }
    return {name: [_least(model, density, {**arguments, **way}) for density in DENSITIES] for name, way in WAYS.items()}


def _least(model: keras.Model, density: float, arguments: dict[str, Any]) -> int:
    try:
        return min(lth.get_mask(lth.prune(model, density, **arguments)).counts().values())
    except ValueError as error:
        if "cut through" not in str(error):
            raise
        return 0


def print_first_empty() -> None:
    """Prints sizes of Conv-6's initial weights by layer, and the first layers that one shot without data empties.

    Keras draws Glorot normal weights again that are beyond two standard deviations. The same is done with weights of
    the same standard deviations that are not truncated.
    """
    keras.utils.set_random_seed(SEEDS[0])
    for key, values in _kernels(conv_6()).items():
        sizes = np.abs(values)
        print(f"- {key}: {sizes.size:,} weights, mean size {sizes.mean():.4f}, greatest {sizes.max():.4f}")
    print("\n| criterion | initial weights | seed | whole down to, % | then empty, and weights left in all |")
    print("|---|---|---|---|---|")
    for criterion in ("magnitude", "synflow"):
        for drawn in ("truncated", "not truncated"):
            for seed in SEEDS:
                print(f"| {criterion} | {drawn} | {seed} | {_first_empty(criterion, drawn == 'truncated', seed)} |")


def _first_empty(criterion: str, truncated: bool, seed: int) -> str:
    keras.utils.set_random_seed(seed)
    model = conv_6()
    if not truncated:
        draws = np.random.default_rng(seed)
        for layer in model.layers:
            if hasattr(layer, "kernel"):
                *window, inputs, outputs = layer.kernel.shape
                deviation = np.sqrt(2 / (np.prod(window) * (inputs + outputs)))
                layer.kernel.assign(draws.normal(0, deviation, layer.kernel.shape))
    whole = 1.0
    for density in DENSITIES:
        try:
            lth.prune(model, density, criterion, scope="global", min_per_layer=0, seed=seed)
        except ValueError as error:
            empty = re.search("no weight left in (.*), at density", str(error))
            if not empty:
                raise
            size = sum(values.size for values in _kernels(model).values())
            return f"{100 * whole:.3g} | {empty[1]}; {round(density * size):,}"
        whole = density
    return f"{100 * whole:.3g} | none"


def _kernels(model: keras.Model) -> dict[str, np.ndarray]:
    return {layer.name: layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")}


def figure_of(results: list[dict[str, list[int]]]) -> Figure:
    """Weights in the smallest layer against density: means over seeds, a cross where the first network is cut."""
    figure = new_figure(height=1.2)
    axes = figure.subplots()
    for place, (name, look) in enumerate(LOOKS.items()):
        counts = np.array([result[name] for result in results], float)
        whole = (counts > 0).all(axis=0)
        last = len(whole) if whole.all() else int(np.argmin(whole))
        axes.plot(100 * np.array(DENSITIES[:last]), counts[:, :last].mean(axis=0), **look.curve())
        if last < len(whole):
            row = 0.75**place  # each has a row of its own, as some are cut at the same density
            axes.plot(100 * DENSITIES[last], row, marker="x", color=look.colour, markersize=8, markeredgewidth=2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.set_xlabel("percent of weights remaining")
    axes.set_ylabel("weights left in the smallest layer")
    axes.set_title("crosses: the first density at which a layer is empty", loc="left")
    axes.legend(loc="upper right")
    return figure


def main() -> None:
    """Prunes and writes, or reads what was written with --draw; draws, and prints the table of README.md.

    With --layers it prints which layers go empty first, and writes nothing.
    """
    warnings.filterwarnings("ignore", "Layer collapse")
    if sys.argv[1:] == ["--layers"]:
        print_first_empty()
        return
    path = HERE / "layer_collapse.json"
    if sys.argv[1:] != ["--draw"]:
        results = [least_layers(seed) for seed in SEEDS]
        written = {"densities": DENSITIES, "seeds": SEEDS, "least_layer": results}
        path.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    results = json.loads(path.read_text(encoding="utf-8"))["least_layer"]
    save_figure(partial(figure_of, results), HERE, "layer_collapse")
    print("| criterion | least density at which no network is cut through, % | weights in the smallest layer there |")
    print("|---|---|---|")
    for name in WAYS:
        whole = [i for i in range(len(DENSITIES)) if all(min(result[name][: i + 1]) for result in results)]
        if not whole:
            print(f"| {name} | none | |")
            continue
        counts = [result[name][whole[-1]] for result in results]
        print(f"| {name} | {100 * DENSITIES[whole[-1]]:.3g} | {min(counts):,} - {max(counts):,} |")


if __name__ == "__main__":
    main()
