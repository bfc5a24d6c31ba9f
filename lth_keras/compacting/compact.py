"""`compact`: a plain model without what pruning has made useless."""

from __future__ import annotations

import warnings

import keras

from lth_keras.compacting.graph import Graph
from lth_keras.compacting.liveness import Needed, needed
from lth_keras.compacting.rebuild import rebuilt
from lth_keras.compacting.structure import Structure, structure_of
from lth_keras.compacting.trace import traced
from lth_keras.layers import MaskedLayer
from lth_keras.masking import has_graph, strip_masks, walk
from lth_keras.system import integer


def compact(model: keras.Model, *, multiple_of: int = 1) -> keras.Model:
    """Returns a smaller plain Keras model with the same outputs, without units that pruning has cut off.

    A unit of a dense or recurrent layer, a filter, an attention head or a column of an embedding goes if nothing reads
    it through a weight that is not zero, or if it is constant and can be added to the biases of what reads it. What a
    residual addition, a concatenation or a depthwise convolution ties together goes together. Inputs and outputs
    of the model keep their shapes. The result can be trained on.

    Args:
        model: a built Sequential or Functional model, masked or plain; it is not changed.
        multiple_of: units and filters of a layer to which their number is rounded up, as 8 keeps GPUs fast.

    Raises:
        TypeError: for an object that is no Keras model.
        ValueError: for a subclassed model, whose graph is not known; see `strip_masks`.

    Warns:
        UserWarning: naming layers with constant channels that stay, and why; see `structure`.

    Example:
        >>> import keras, lth_keras as lth
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(2)])
        >>> pruned = lth.prune(model, 0.25, pattern="units")
        >>> lth.compact(pruned).count_params() < model.count_params() / 2
        True
    """
    plain, graph, found = _analysed(model, multiple_of)
    stays = structure_of(plain, graph, found).stays
    if stays:
        shown = ", ".join(f"{row.constant:,} of {row.layer} ({row.reason})" for row in stays[:5])
        more = f" and {len(stays) - 5} more layers" if len(stays) > 5 else ""
        warnings.warn(
            f"Constant channels of {model.name!r} stay: {shown}{more}. lth_keras.structure(model) lists them.",
            stacklevel=2,
        )
    return rebuilt(plain, graph, found)


def structure(model: keras.Model, *, multiple_of: int = 1) -> Structure:
    """What `compact` removes of each layer of a model, and what does nothing but stays, and why.

    Args:
        model: as for `compact`; it is not changed.
        multiple_of: as for `compact`.

    Returns:
        Prints as text; `rows` are tuples.

    Raises:
        TypeError: as `compact`.
        ValueError: as `compact`.
    """
    return structure_of(*_analysed(model, multiple_of))


def _analysed(model: keras.Model, multiple_of: int) -> tuple[keras.Model, Graph, Needed]:
    """The plain model, its channels, and which of them stay."""
    multiple_of = integer("multiple_of", multiple_of, 1)
    plain = plain_of(model)
    graph = traced(plain)
    return plain, graph, needed(graph, multiple_of)


def plain_of(model: keras.Model) -> keras.Model:
    """A Sequential or Functional model without masks.

    Raises:
        TypeError: for an object that is no Keras model.
        ValueError: for a model that is not built, or a subclassed one.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a Keras model. Received: {type(model).__name__}.")
    if not model.built:
        raise ValueError(f"Expected a built model. Received: {model.name!r}, not built. Call it once on a batch.")
    if not has_graph(model):
        raise ValueError(
            f"Expected a Sequential or Functional model. Received: {model.name!r}, a {type(model).__name__}: which "
            "channels it does not need is not known, as its own code connects its layers. strip_masks makes it plain."
        )
    masked = any(isinstance(layer, MaskedLayer) for _, layer in walk(model))
    return strip_masks(model) if masked else model
