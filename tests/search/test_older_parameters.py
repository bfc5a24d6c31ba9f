"""Parameters by their names of version 0.1: accepted with a warning that says the new one, and the same identity."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import lth_keras as lth
from tests import tiny

ARGUMENTS: dict[str, Any] = {
    "build": tiny.build,
    "data": tiny.data(),
    "optimizer": tiny.adam,
    "loss": "sparse_categorical_crossentropy",
    "levels": 1,
}
SHORT = {"rates": 0.2, "steps": 10, "batch_size": 10}
OLDER = {
    "of a group": ({"evaluate_every": 5}, {}, "training=Training(evaluate_every=...)"),
    "schedule": ({"schedule": "before_training"}, {"pruning": {"when": "before_training"}}, "when='before_training'"),
    "initialise": ({"initialise": "bimodal(synflow)"}, {"start": "bimodal(synflow)"}, "start='bimodal(synflow)'"),
    "compact": ({"compact": True}, {"engine": "compact"}, "engine='compact'"),
    "fused": ({"fused": True}, {"engine": "native"}, "engine='native'"),
    "both": ({"compact": True, "fused": True}, {"engine": "compact:native"}, "engine='compact:native'"),
    "embeddings": ({"embeddings": "dense"}, {"engine": "compiled"}, "engine='compiled'"),
    "vectorize": ({"vectorize": 4}, {"engine": "batched:4"}, "engine='batched:4'"),
}


def test_shorthands_are_no_older_names(recwarn: pytest.WarningsRecorder) -> None:
    search = lth.TicketSearch(**ARGUMENTS, **SHORT, criterion="snip")
    assert (search.pruning.criterion, search.training.steps, search.pruning.rates) == ("snip", 10, 0.2)
    assert not [warning for warning in recwarn if issubclass(warning.category, DeprecationWarning)]


@pytest.mark.parametrize("what", OLDER)
def test_older_names_are_accepted_with_a_warning_that_names_the_new_one(what: str) -> None:
    older, newer, said = OLDER[what]
    with pytest.warns(DeprecationWarning) as warned:
        made = lth.TicketSearch(**ARGUMENTS, **SHORT, **older)
    assert any(said in str(warning.message) for warning in warned)
    for name, value in newer.items():
        if name == "pruning":
            assert made.pruning.when == value["when"]
        else:
            assert getattr(made, name) == value


def test_variants_take_older_names_too() -> None:
    with pytest.warns(DeprecationWarning):
        made = lth.TicketSearch(**ARGUMENTS, **SHORT, variants={"before": {"schedule": "before_training"}})
    assert made.variants == {"before": {"when": "before_training"}} and made.independent == {"before"}


def test_a_group_and_one_of_its_parameters_are_not_both_given() -> None:
    with pytest.raises(ValueError, match=r"Expected training= or steps=, not both"):
        lth.TicketSearch(**ARGUMENTS, rates=0.2, training=lth.Training(epochs=1), steps=10)
    with pytest.raises(ValueError, match=r"Expected pruning to be a Pruning. Received: 0.2"):
        lth.TicketSearch(**ARGUMENTS, pruning=0.2, steps=10)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Expected parameters of a TicketSearch. Received: rate"):
        lth.TicketSearch(**ARGUMENTS, rate=0.2, steps=10)


def test_facts_are_of_a_run() -> None:
    with pytest.raises(TypeError, match=r"TicketSearch\.run\. Received: .*facts"):
        lth.TicketSearch(**ARGUMENTS, **SHORT, facts=dict)


def test_a_network_takes_older_names() -> None:
    options: dict[str, Any] = {"optimizer": tiny.adam, "loss": ARGUMENTS["loss"], "batch_size": 10}
    with pytest.warns(DeprecationWarning, match="Network\\(engine='compiled'\\)"):
        assert lth.Network(tiny.build, **options, embeddings="dense").engine.spelling == "compiled"
    with pytest.raises(TypeError, match="Expected arguments of a Network. Received: fuse"):
        lth.Network(tiny.build, **options, fuse=True)


def test_prune_takes_an_older_name() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    with pytest.warns(DeprecationWarning, match="prune\\(shot_schedule='linear'\\)"):
        assert lth.get_mask(lth.prune(model, 0.5, shots=2, schedule="linear")).density == 0.5
