"""Criteria: pure functions from a `State` to one score per prunable weight; higher is kept.

A criterion of your own is a function `(state: State) -> {weight key: scores}`; pass it wherever
a name is taken. docs/criteria.md shows how.
"""

from __future__ import annotations

from lth_keras.criteria.as_weights import bimodal, scores_as_weights
from lth_keras.criteria.grasp import grasp
from lth_keras.criteria.grasp_magnitude import grasp_magnitude
from lth_keras.criteria.initial_magnitude import initial_magnitude
from lth_keras.criteria.initialisers import Initialiser
from lth_keras.criteria.learned import Learned, features
from lth_keras.criteria.magnitude import magnitude
from lth_keras.criteria.magnitude_change import magnitude_change
from lth_keras.criteria.movement import movement
from lth_keras.criteria.names import CRITERIA, DATA_AWARE, criteria_and_scale, criterion, parse_call, takes_data
from lth_keras.criteria.random import random
from lth_keras.criteria.snip import snip
from lth_keras.criteria.stacked import Stacked
from lth_keras.criteria.state import Criterion, NetworkDerivatives, State, name_of
from lth_keras.criteria.synflow import synflow
from lth_keras.criteria.wanda import wanda

__all__ = [
    "CRITERIA",
    "DATA_AWARE",
    "Criterion",
    "Initialiser",
    "Learned",
    "NetworkDerivatives",
    "Stacked",
    "State",
    "bimodal",
    "criteria_and_scale",
    "criterion",
    "features",
    "grasp",
    "grasp_magnitude",
    "initial_magnitude",
    "magnitude",
    "magnitude_change",
    "movement",
    "name_of",
    "parse_call",
    "random",
    "scores_as_weights",
    "snip",
    "synflow",
    "takes_data",
    "wanda",
]
