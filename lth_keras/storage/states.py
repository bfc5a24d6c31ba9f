"""The state of a training in a level file, from which later levels start."""

from __future__ import annotations

import h5py

from lth_keras.arrays import TrainingState
from lth_keras.storage.arrays import ordered, write_arrays

_STATE = "state"


def write_state(file: h5py.File, state: TrainingState) -> None:
    """Write `state` in a group of a level file; the optimiser's variables are named by their number."""
    group = file.create_group(_STATE)
    group.attrs["step"] = state.step
    write_arrays(group.create_group("weights"), state.weights)
    write_arrays(group.create_group("optimizer"), {str(i): value for i, value in enumerate(state.optimizer)})


def read_state(file: h5py.File) -> TrainingState | None:
    """The state in a level file; None if it has none."""
    if _STATE not in file:
        return None
    group = file[_STATE]
    weights = {key: dataset[()] for key, dataset in ordered(group["weights"])}
    return TrainingState(int(group.attrs["step"]), weights, [dataset[()] for _, dataset in ordered(group["optimizer"])])
