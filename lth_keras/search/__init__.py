"""The search for winning tickets: its parameters, tasks, levels and processes."""

from __future__ import annotations

from lth_keras.search.execution import Asked, prepare
from lth_keras.search.observation import Observation
from lth_keras.search.parameters import PARAMETERS, Pruning, Training, check_pattern, grouped
from lth_keras.search.rewinding import check_rewind
from lth_keras.search.run import Run
from lth_keras.search.runner import WorkerDiedError, WorkerError, WorkerStartError
from lth_keras.search.search import TicketSearch
from lth_keras.search.shipping import write_level_model
from lth_keras.search.stored import stored_level
from lth_keras.search.tasks import LevelError
