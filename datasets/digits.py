"""The 8x8 handwritten digits that scikit-learn brings along: the data that need no download."""

from __future__ import annotations

import numpy as np

from datasets.splits import Split, Splits, check_validation, named_generator
from datasets.status import Status

COUNT, TEST = 1797, 300
VALIDATION = 300


def load(*, seed: int = 0, validation: int = VALIDATION) -> Splits:
    """Return the digits as 1,497 - `validation` / `validation` / 300 examples, by class alike.

    The test split is the same for every seed; the validation split is drawn by the seed.

    Args:
        seed: draws the validation split; 0 or more.
        validation: how many examples it gets, in [10, 1487] (every class in each split).

    Returns:
        x of shape (n, 64), float32, the 8x8 pixels row by row as ink in [0, 1] (the bundled 0..16
        divided by 16); y of shape (n,), int32, the digit 0..9.

    Raises:
        ValueError: if the seed is negative or the validation size out of range.

    Source: "Optical Recognition of Handwritten Digits", Alpaydin & Kaynak, UCI Machine Learning
    Repository, 1998; the copy is `sklearn.datasets.load_digits`.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    check_validation("digits", validation, COUNT - TEST)
    if not 10 <= validation <= COUNT - TEST - 10:
        raise ValueError(
            f"digits: Expected a validation size in [10, {COUNT - TEST - 10}], so that each of 10 "
            f"classes is in each split. Received: {validation}."
        )
    pixels, labels = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32)
    y = labels.astype(np.int32)

    def draw(indices: np.ndarray, size: int, stream_seed: int, name: str) -> list[np.ndarray]:
        state = int(named_generator(stream_seed, name).integers(2**31))
        parts = train_test_split(indices, test_size=size, stratify=y[indices], random_state=state)
        return list(parts)

    rest, test = draw(np.arange(COUNT), TEST, 0, "digits/test")
    train, held_out = draw(rest, validation, seed, "digits/validation")
    return Splits(
        name="digits",
        train=Split(x[train], y[train]),
        validation=Split(x[held_out], y[held_out]),
        test=Split(x[test], y[test]),
        classes=tuple("0123456789"),
        x_meaning="(n, 64) float32: 8x8 pixels row by row, ink in [0, 1]",
        y_meaning="(n,) int32: the digit, 0 to 9",
    )


def status() -> Status:
    """Say that the digits are there: they are part of scikit-learn."""
    counts = f"{COUNT - TEST - VALIDATION:,} / {VALIDATION:,} / {TEST:,}"
    return Status("digits", present=True, where="part of scikit-learn", counts=counts)


def fetch() -> None:
    """Do nothing: there is nothing to download."""
