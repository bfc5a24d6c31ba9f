"""The provenance of levels: what trained them, as their files record it, and a check before a run is continued."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lth_keras.backends import backend
from lth_keras.data import SPLITS
from lth_keras.search.branches import is_variant
from lth_keras.search.identity import describe, describe_model
from lth_keras.storage import RunDirectory, differences, versions
from lth_keras.training.engines import AUTO, recorded_spelling, width_of, without_older

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch

_OF_THE_RUN = ("data", "densities", "seed")
"""Keys of `describe` that do not concern a single level, or are recorded separately."""
_WARNED = ("versions", "device")
_SHOWN = 5
Level = tuple[int, str, int]


def trained_by(search: TicketSearch) -> dict[str, Any]:
    """The provenance of a search's levels as JSON: parameters, model, optimiser, loss, data types, device and versions.

    It is complete even if `config` replaces the search's identity, except for parts that cannot be described, such as
    functions without source.
    """
    return {
        "training": _described(search),
        "engine": search.trainer.spelling,
        "floatx": keras.config.floatx(),
        "dtype_policy": keras.config.dtype_policy().name,
        "device": backend().device()[0],
        "versions": versions(),
    }


def made_by(search: TicketSearch, seed: int) -> dict[str, Any]:
    """The provenance of a trial's levels, as their files record it."""
    return {**search.trained_by, "data": search.trial_data.digest(seed)}


def recorded_engine(directory: RunDirectory | None, asked: str) -> str | None:
    """The engine that trained a run's levels; None if there are no levels or they do not record it.

    Args:
        directory: the run's directory.
        asked: the requested engine, or `auto`.

    Raises:
        ValueError: if another engine is requested.
    """
    if directory is None:
        return None
    levels = (directory.made(*key) for key in sorted(directory.finished()) if not is_variant(key[1]))
    recorded = recorded_spelling(next((made for made in levels if made is not None), None), directory.tickets)
    # `auto` is recorded where the model decided between engines of one ticket
    same = width_of(asked) == 1 if recorded == AUTO else recorded == asked
    if asked != AUTO and recorded is not None and not same:
        raise ValueError(
            f"Expected engine={recorded!r}, as {directory.path} was made with; engines' results are not "
            f"bit-identical. Received: engine={asked!r}. Leave it out, or choose another --out."
        )
    return recorded


def check(search: TicketSearch, directory: RunDirectory, levels: Iterable[Level], seeds: set[int]) -> None:
    """Checks, once per trial, that finished levels were made with the search that is to train the others of their run.

    Args:
        search: the search; levels of branches that it does not have are left out.
        directory: the run's directory.
        levels: seed, branch and level of the finished levels.
        seeds: seeds of the trials whose data are compared, too.

    Raises:
        ValueError: for another run's level, other data, another model, optimiser, loss or parameter, or another data
            type; the message names the file and the differences. Other versions and devices cause a warning.
    """
    compared = search.cache.compared.setdefault(directory.path, set())
    if seeds <= compared:
        return
    notes: set[str] = set()
    for key in sorted(levels):
        made = directory.made(*key)
        if made is None or (is_variant(key[1]) and key[1] not in search.variants):
            continue
        if not made:
            notes.add("some levels do not record their provenance, as in lth_keras 0.1, and are not checked")
            continue
        maker = search.search_of(key[1])
        now = {**(made_by(maker, key[0]) if key[0] in seeds else maker.trained_by), "run": directory.identity}
        made = {**made, "training": without_older(made.get("training"), now["engine"])}
        if changes := list(_changes(made, now)):
            more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
            raise ValueError(
                f"Expected finished levels to be made with this search. Received: {str(directory.level_path(*key))!r}, "
                f"made with {'; '.join(changes[:_SHOWN])}{more}. Undo the change, choose another --out, or move the "
                "file away to train the level again."
            )
        notes |= {text for name in _WARNED for text in differences(made.get(name), now[name], name)}
    if notes:
        warnings.warn(f"{directory.path}: {'; '.join(sorted(notes))}", stacklevel=2)
    compared |= seeds


def _changes(made: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    one, other = ({k: v for k, v in record.items() if k not in _WARNED} for record in (made, now))
    one, other = {k: v for k, v in one.items() if k in other}, {k: v for k, v in other.items() if k in one}
    if made.get("versions") != now["versions"]:  # another version of Keras may add keys to a layer's configuration
        one, other = _common(one, other), _common(other, one)
    return sorted(differences(one, other), key=lambda text: "=" not in text or text.endswith(" unexpected"))


def _common(one: Any, other: Any) -> Any:
    """`one` without the keys that `other` does not have."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _common(value, other[key]) for key, value in one.items() if key in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_common(*pair) for pair in zip(one, other, strict=True)]
    return one


def _described(search: TicketSearch) -> dict[str, Any]:
    model = search.network.model
    replaced: dict[str, Any] = {"data": _no_data(model), "build": lambda: model, "engine": search.trainer.spelling}
    unknown: dict[str, Any] = {}
    try:
        described = describe(search, **replaced)
    except ValueError:  # the search has a `config`; find the parts that cannot be described and leave them out
        harmless = {
            "criterion": "magnitude",
            "loss": "mse",
            "optimizer": keras.optimizers.SGD,
            "build": lambda: keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]),
        }
        for name in harmless:
            try:
                describe(search, **{**replaced, **{n: v for n, v in harmless.items() if n != name}})
            except ValueError:
                unknown[name] = harmless[name]
        described = describe(search, **{**replaced, **unknown})
        if "build" in unknown:
            described["model"] = describe_model(model)
    left_out = {*_OF_THE_RUN, *unknown}
    kept = {name: value for name, value in described.items() if name not in left_out}
    if "model" in kept:
        kept["model"] = _without_seeds(kept["model"])
    plain: dict[str, Any] = json.loads(json.dumps(kept), parse_constant=str)  # NaN would differ from itself
    return plain


def _no_data(model: keras.Model) -> dict[str, Any]:
    x, y = ([np.zeros((1, 1), np.float32)] * len(tensors) for tensors in (model.inputs, model.outputs))
    return dict.fromkeys(SPLITS, (x if len(x) > 1 else x[0], y if len(y) > 1 else y[0]))


def _without_seeds(config: Any) -> Any:
    """A model's configuration without seeds, which a search replaces and some layers draw at random in `build`."""
    if isinstance(config, dict):
        return {key: _without_seeds(value) for key, value in config.items() if key != "seed"}
    return [_without_seeds(value) for value in config] if isinstance(config, list) else config
