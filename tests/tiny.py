"""A search small enough for tests: an 8-16-3 network on 120 made-up examples, 20 steps a level."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import xarray

from lth_keras.search import execution
from lth_keras.search.execution import Prepared
from lth_keras.search.identity import describe
from lth_keras.search.parameters import grouped
from lth_keras.search.run import Run
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import Task
from lth_keras.system import memory
from lth_keras.training.network import Network
from tests.backend import JIT

ALL = ("winning_ticket", "random_reinit", "random_mask")
SIZES = {"hidden/kernel": 8 * 16, "output/kernel": 16 * 3}
RATES = {"hidden/kernel": 0.3, "output/kernel": 0.2}


def build() -> keras.Model:
    """8-16-3; biases are drawn too, so that rewinding them shows."""
    normal = keras.initializers.RandomNormal
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, "relu", name="hidden", bias_initializer=normal(stddev=0.1)),
            keras.layers.Dense(3, "softmax", name="output", bias_initializer=normal(stddev=0.1)),
        ]
    )


def data(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Three classes that a line in the first two features tells apart."""
    generator = np.random.default_rng(seed)

    def split(examples: int) -> tuple[np.ndarray, np.ndarray]:
        x = generator.normal(size=(examples, 8)).astype(np.float32)
        return x, np.digitize(x[:, 0] + x[:, 1], [-0.5, 0.5]).astype(np.int32)

    return {"train": split(120), "validation": split(40), "test": split(40)}


def adam() -> keras.Optimizer:
    return keras.optimizers.Adam(0.02)


TRAINING: dict[str, Any] = {
    "optimizer": adam,
    "loss": "sparse_categorical_crossentropy",
    "batch_size": 10,
    "evaluate_every": 5,
    "test_every": 10,
    "jit_compile": JIT,
}


def network_of(build: Callable[[], Any] = build, **changes: Any) -> Network:
    """The network that `make` searches, or one with changes."""
    return Network(build, **{**TRAINING, **changes})


def make(network: Network | None = None, **changes: Any) -> TicketSearch:
    """The search; `network`, made by another one of the same batch size and cadences, saves its compilation."""
    parameters: dict[str, Any] = {
        "build": build,
        "data": data(),
        "rates": {"dense": 0.3, "output": 0.2},
        "levels": 2,
        "steps": 20,
        **TRAINING,
    }
    search = TicketSearch(**grouped({**parameters, **changes}))
    if network is not None:
        search.network = network
    return search


def run(make_search: Callable[[], TicketSearch] = make, **asked: Any) -> Run:
    """Runs the search that a function makes, which worker processes make for themselves; as `TicketSearch.run`."""
    return make_search().run(remake=make_search, **asked)


def prepare(search: TicketSearch, trials: int, branches: Sequence[str], out: Path) -> Prepared:
    """Opens the directory of a run that is asked for."""
    return execution.prepare(search, execution.Asked(trials, branches, out, "none"))


def make_described(directory: Path, **changes: Any) -> TicketSearch:
    """As `make`; each worker process leaves in `directory` how it describes the search."""
    search = make(**changes)
    if multiprocessing.parent_process() is not None:
        keras.layers.Dense(1)  # Keras counts it in the names that it makes up
        (directory / f"{os.getpid()}.json").write_text(json.dumps(describe(search)))
    return search


def make_deadly() -> TicketSearch:
    """A search that kills the worker process that builds its network."""
    return make(build=_die_in_worker, config={"name": "deadly"})


def make_poor() -> TicketSearch:
    """A search whose worker processes find half a gigabyte free."""
    if multiprocessing.parent_process() is not None:
        memory.free_memory_bytes = lambda: 500_000_000
    return make(config={"name": "poor"})


def _die_in_worker() -> keras.Model:
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return build()


def numbers(run: Run | xarray.Dataset) -> xarray.Dataset:
    """What of run.h5 is the same each time: all but time and memory."""
    dataset = run.dataset if isinstance(run, Run) else run
    return dataset.drop_vars(["seconds", "peak_memory_bytes"])


def assert_same_numbers(received: Run | xarray.Dataset, expected: Run | xarray.Dataset) -> None:
    """Bit for bit: no tolerance, and NaN in the same places."""
    xarray.testing.assert_equal(numbers(received), numbers(expected))


def assert_same_bits(received: Run | xarray.Dataset, expected: Run | xarray.Dataset) -> None:
    """All of run.h5 but time, memory and the date: every byte of every variable, and what is said of it."""
    one, other = numbers(received), numbers(expected)
    assert list(one.variables) == list(other.variables) and one.sizes == other.sizes
    for name, variable in one.variables.items():
        assert variable.dims == other[name].dims and variable.attrs == other[name].attrs
        assert variable.dtype == other[name].dtype
        same = variable.dtype.hasobject or variable.values.tobytes() == other[name].values.tobytes()
        assert same and variable.equals(other[name].variable), name
    assert {**one.attrs, "created": ""} == {**other.attrs, "created": ""}


def masks_of(run: Run, seed: int, branch: str, levels: int) -> list[Any]:
    """The masks of levels 0 to `levels`."""
    tasks = [Task(seed, branch if n else "dense", n) for n in range(levels + 1)]
    return [level.mask for level in (run.directory.read(*task) for task in tasks) if level is not None]


def final_weights(run: Run, *task: Any) -> dict[str, np.ndarray]:
    """The final weights that a finished task kept."""
    level = run.directory.read(*task, weights=True)
    assert level is not None and level.weights is not None
    return dict(level.weights)


@dataclasses.dataclass
class Witness:
    """A reporter that remembers, and is interrupted as it hears of the first `kind` of event of a task."""

    kind: str = "nothing"
    task: Task | None = None

    def __post_init__(self) -> None:
        self.events: list[tuple[str, Task]] = []

    def _hear(self, kind: str, task: Task) -> None:
        self.events.append((kind, task))
        if (kind, task) == (self.kind, self.task):
            raise KeyboardInterrupt

    def tasks(self, kind: str) -> list[Task]:
        return [task for heard, task in self.events if heard == kind]

    def started(self, task: Task, steps: int) -> None:
        self._hear("started", task)

    def advanced(self, task: Task, done: int, steps: int) -> None:
        self._hear("advanced", task)

    def finished(self, task: Task, scalars: Any) -> None:
        self._hear("finished", task)
