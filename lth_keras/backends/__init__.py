"""Training and differentiation on Keras' active backend. Only this package imports backends."""

from __future__ import annotations

from lth_keras.backends.backend import BACKENDS, Backend, assign, backend, set_threads, threads
from lth_keras.backends.derivatives import Differentiator
from lth_keras.backends.events import ScalarWriter
from lth_keras.backends.linearised import not_followed
from lth_keras.backends.losses import (
    Losses,
    LossFacts,
    LossKind,
    has_several,
    loss_facts,
    loss_function,
    with_axis_of,
)
from lth_keras.backends.optimizers import (
    LOWER,
    OptimizerStart,
    advice,
    as_fit_takes_it,
    averages,
    forget,
    restart,
    values_after_build,
)
from lth_keras.backends.program import (
    NOTHING_PRUNED,
    SAMPLE_WEIGHT,
    Arrays,
    Evaluations,
    Measured,
    Program,
    ProgramOfOne,
    ProgramParts,
    Pruned,
    Splits,
    Values,
    check_unweighted,
    due_steps,
)
from lth_keras.backends.schedules import Movable, Place
from lth_keras.backends.several import (
    as_called,
    count,
    each,
    in_order,
    input_names,
    is_single,
    ordered,
    output_names,
    rows,
)
from lth_keras.backends.skipped import is_plain, skipped
