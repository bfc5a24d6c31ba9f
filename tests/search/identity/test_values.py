"""What tells functions and values apart in the identity of a search, and what does not."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.criteria import Stacked, magnitude, snip, synflow
from lth_keras.search.identity.values import describe_value

SCALE = 2.0


def told(value: Any) -> str:
    return json.dumps(describe_value(value, "it"), sort_keys=True)


def closed_over(value: Any) -> Any:
    def function(y: Any, outputs: Any) -> Any:
        return value * (y - outputs)

    return function


def halved(x: Any) -> Any:
    return x / 2


def with_helper(x: Any) -> Any:
    return halved(x) * SCALE


@dataclasses.dataclass
class Scorer:
    power: int

    def __call__(self, state: Any) -> Any:
        return {key: abs(state.final[key]) ** self.power for key in state.mask}

    def other(self, state: Any) -> Any:
        return self(state)


class Slotted:
    __slots__ = ("alpha",)

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha


def teacher(value: float) -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.set_weights([np.full((2, 1), value), np.zeros(1)])
    return model


def with_default(x: Any, power: int = 2, *, scale: float = 1.0) -> Any:
    return scale * x**power


def power_of(power: int) -> Any:
    return functools.partial(with_default, power=power)


PAIRS: dict[str, tuple[Any, Any]] = {
    "closure": (closed_over(1.0), closed_over(2.0)),
    "closure of another type": (closed_over(1), closed_over(1.0)),
    "closure over arrays": (closed_over(np.zeros(3)), closed_over(np.array([0, 0, 1e-9]))),
    "closure over long lists": (closed_over([0] * 999), closed_over([0] * 998 + [1])),
    "closure over functions": (closed_over(closed_over(1)), closed_over(closed_over(2))),
    "closure over an initialiser": tuple(closed_over(keras.initializers.RandomNormal(stddev=s)) for s in (0.1, 0.2)),  # type: ignore[dict-item]
    "closure over a model": (closed_over(teacher(1.0)), closed_over(teacher(2.0))),
    "closure over a tensor": (closed_over(keras.ops.ones(2)), closed_over(keras.ops.zeros(2))),
    "closure over an object": (closed_over(Slotted(0.1)), closed_over(Slotted(0.2))),
    "closure over NaN": (closed_over(float("nan")), closed_over(float("inf"))),
    "closure over a set": (closed_over({1, 2}), closed_over({1, 3})),
    "closure over a mapping": (closed_over({1: "a"}), closed_over({1: "b"})),
    "partial": (power_of(2), power_of(3)),
    "partial and function": (power_of(2), with_default),
    "partial of partial": (functools.partial(power_of(2), 1), functools.partial(power_of(3), 1)),
    "lambdas on one line": (lambda x: x + 1, lambda x: x + 2),
    "lambdas in lambdas": (lambda x: (lambda y: y)(x), (lambda: lambda x: (lambda y: y + 1)(x))()),
    "default": (lambda x, n=1: x * n, lambda x, n=2: x * n),
    "methods": (Scorer(1).__call__, Scorer(1).other),
    "objects of a method": (Scorer(1).other, Scorer(2).other),
    "callable objects": (Scorer(1), Scorer(2)),
    "composites": (Stacked(snip, synflow), Stacked(synflow, snip)),
    "scale of composites": (Stacked(snip, magnitude), Stacked(snip, magnitude, "global")),
    "composites of own functions": (Stacked(Scorer(1), synflow), Stacked(Scorer(2), synflow)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_is_told_apart(name: str) -> None:
    one, other = PAIRS[name]
    assert told(one) != told(other)
    assert told(one) == told(one) and told(other) == told(other)


def test_equal_values_are_described_alike() -> None:
    assert told(closed_over(np.arange(4))) == told(closed_over(np.arange(4)))
    assert told(power_of(2)) == told(power_of(2))
    assert told(closed_over({"b": 1, "a": 2})) == told(closed_over({"a": 2, "b": 1}))
    assert told(closed_over(teacher(1.0))) == told(closed_over(teacher(1.0)))


def test_globals_and_helpers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = told(with_helper)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    scaled = told(with_helper)
    monkeypatch.setitem(globals(), "halved", lambda x: x / 3)
    assert len({before, scaled, told(with_helper)}) == 3


def test_a_function_that_calls_itself_ends() -> None:
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    assert "again" in told(factorial)


SOURCE = """
import numpy as np
WEIGHT = {weight}
{gap}
def helper(x):
    {doc}
    return np.abs(x) * WEIGHT
{gap}
class Base:
    {doc}
    def scale(self, x):
        return x * {scale}

class Loss(Base):
    def __call__(self, y, outputs):
        {doc}
        return self.scale(helper(y - outputs))

def custom(y, outputs):
    {doc}
    return helper(y - outputs)  {comment}

pair = (lambda x: x * WEIGHT, lambda x: x)
"""


def module_of(path: Path, **changes: Any) -> ModuleType:
    values = {"weight": 2, "gap": "", "doc": "'A text.'", "scale": 2, "comment": "", **changes}
    path.write_text(SOURCE.format(**values))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_module_file_line_comments_and_docstrings_do_not_count(tmp_path: Path) -> None:
    one = module_of(tmp_path / "one.py")
    other = module_of(tmp_path / "other.py", gap="\n\n# moved\n", doc="'Another\\n text.'", comment="# why")
    for find in (lambda m: m.custom, lambda m: m.Loss(), lambda m: m.pair[0], lambda m: m.pair[1]):
        assert told(find(one)) == told(find(other))
    assert told(one.pair[0]) != told(one.pair[1])


@pytest.mark.parametrize(("change", "tells"), [({"weight": 3}, "custom"), ({"scale": 3}, "Loss")])
def test_what_a_function_or_a_class_builds_on_counts(tmp_path: Path, change: dict[str, Any], tells: str) -> None:
    one, other = module_of(tmp_path / "one.py"), module_of(tmp_path / "other.py", **change)
    assert told(getattr(one, tells)) != told(getattr(other, tells))


def test_functions_of_packages_go_by_name() -> None:
    assert describe_value(snip, "it") == "lth_keras.criteria.snip.snip"
    assert describe_value(np.linalg.norm, "it") == "numpy.linalg.norm"
    assert describe_value(np.exp, "it") == "numpy.exp"
    assert describe_value(len, "it") == "builtins.len"
    name = keras.losses.mean_squared_error.__module__
    assert describe_value(keras.losses.mean_squared_error, "it") == f"{name}.mean_squared_error"


def test_a_compiled_function_goes_by_what_it_does() -> None:
    if keras.backend.backend() == "jax":
        import jax as backend

        compiled = backend.jit
    else:
        import tensorflow as backend

        compiled = backend.function
    assert told(compiled(closed_over(1.0))) != told(compiled(closed_over(2.0)))


def without_source() -> Any:
    names: dict[str, Any] = {}
    exec("def hidden(x): return x", names)
    return names["hidden"]


@pytest.mark.parametrize(
    "value",
    [
        without_source(),
        closed_over(without_source()),
        closed_over(np.random.default_rng(0)),
        closed_over(threading.Lock()),
        closed_over(iter([1])),
        functools.partial(with_default, threading.Lock()),
    ],
)
def test_what_cannot_be_read_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"Expected functions and values whose .* Received: it; .*`config=`"):
        describe_value(value, "it")
