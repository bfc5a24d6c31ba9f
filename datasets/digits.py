"""The 8x8 handwritten digits of scikit-learn, which need no download."""

from __future__ import annotations

import numpy as np

from datasets.packed import is_packed, origin, read_packed
from datasets.splits import Split, Splits, check_validation, named_generator
from datasets.status import Status

COUNT, TEST = 1797, 300
VALIDATION = 300
BUNDLED = "part of scikit-learn"


def load(*, seed: int = 0, validation: int = VALIDATION) -> Splits:
    """Return the digits as 1,497 - `validation` / `validation` / 300 examples, stratified by class.

    The test split is the same for every seed; the seed draws the validation split. The digits are read from packed
    parts (LTH_DATA_DIR/packed/digits) if there are some, else from scikit-learn. The arrays are the same.

    Args:
        seed: draws the validation split; 0 or more.
        validation: number of validation examples, in [10, 1487], so that every class is in each split.

    Returns:
        x of shape (n, 64), float32, the 8x8 pixels row by row as ink in [0, 1] (the bundled 0..16
        divided by 16); y of shape (n,), int32, the digit 0..9.

    Raises:
        DataUnavailable: if packed parts are damaged.
        ValueError: if the seed is negative or the validation size out of range.

    Source: "Optical Recognition of Handwritten Digits", Alpaydin & Kaynak, UCI Machine Learning
    Repository, 1998; the copy is `sklearn.datasets.load_digits`.
    """
    from sklearn.model_selection import train_test_split

    check_validation("digits", validation, COUNT - TEST)
    if not 10 <= validation <= COUNT - TEST - 10:
        raise ValueError(
            f"digits: Expected a validation size in [10, {COUNT - TEST - 10}], so that each of 10 "
            f"classes is in each split. Received: {validation}."
        )
    packed = is_packed("digits")
    arrays = read_packed("digits", content(), ("x", "y")) if packed else originals()
    x = (arrays["x"] / 16).astype(np.float32)
    y = arrays["y"].astype(np.int32)

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
        provenance={"read_from": origin("digits") if packed else BUNDLED},
    )


def status() -> Status:
    """Return that the digits are available as part of scikit-learn."""
    counts = f"{COUNT - TEST - VALIDATION:,} / {VALIDATION:,} / {TEST:,}"
    where = origin("digits") if is_packed("digits") else BUNDLED
    return Status("digits", present=True, where=where, counts=counts)


def fetch() -> None:
    """Do nothing: there is nothing to download."""


def content() -> str:
    """Return the description in packed parts of the digits."""
    return f"digits, {COUNT:,} images and labels as scikit-learn's load_digits has them"


def originals() -> dict[str, np.ndarray]:
    """Return the arrays to pack: x of shape (1797, 64), ink 0..16, and the labels y, both uint8."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return {"x": pixels.astype(np.uint8), "y": labels.astype(np.uint8)}
