"""What a model learns from: splits, labels that a loss takes, samples."""

from __future__ import annotations

from lth_keras.data.arguments import (
    check_loss,
    check_loss_weights,
    check_makers,
    check_model,
    compiled_losses,
    losses_in,
    losses_of,
)
from lth_keras.data.checks import (
    SPLITS,
    Arrays,
    check_cadence,
    check_examples,
    check_patience,
    check_split,
    check_splits,
    part_in_order,
    part_of,
    sample_weights_of,
    split_of,
)
from lth_keras.data.reader import MARGIN, Reader, batches_per_epoch, fingerprint, first_examples
from lth_keras.data.sampling import SAMPLES_PER_CLASS, draw_samples, largest_output
from lth_keras.data.streams import Batch, Stream, is_stream, read_streams
from lth_keras.data.weights import check_class_weight, weights_of_classes
