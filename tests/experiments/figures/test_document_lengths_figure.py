"""The figure of document lengths shows the lengths it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from experiments.figures.document_lengths import document_lengths_figure
from lth_keras.plots import save_figure

LENGTHS = {"train": np.array([0, 1, 9, 10, 11, 30, 50, 51]), "test": np.array([3, 10, 100, 200, 300])}


def test_bars_are_the_percent_of_documents_and_end_at_the_cut_off() -> None:
    axes = document_lengths_figure(LENGTHS, cut_off=10).axes[0]
    train, test = (patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch))
    assert train.edges[0] == 0 and train.edges[-1] == 50 and 10 in train.edges
    below = train.edges[1:] <= 10
    np.testing.assert_allclose(train.values[below].sum(), 100 * 4 / 8)
    np.testing.assert_allclose(train.values.sum(), 100 * 7 / 8)
    np.testing.assert_allclose(test.values.sum(), 100 * 2 / 5)
    assert axes.lines[0].get_xdata() == [10, 10]


def test_the_legend_says_the_share_untruncated_and_what_is_not_shown() -> None:
    legend = document_lengths_figure(LENGTHS, cut_off=10).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "train (8): 50.0% untruncated, 12.5% over 50",
        "test (5): 40.0% untruncated, 60.0% over 50",
        "cut-off: 10 tokens",
    ]


@pytest.mark.parametrize("bad", [{}, {"train": np.array([], int)}, {name: np.ones(2) for name in "abcd"}])
def test_lengths_that_cannot_be_drawn_are_refused(bad: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="Expected: 1 to 3 splits"):
        document_lengths_figure(bad, cut_off=10)


def test_a_cut_off_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: 0"):
        document_lengths_figure(LENGTHS, cut_off=0)


def test_it_is_written_like_every_figure(tmp_path: Path) -> None:
    written = save_figure(lambda: document_lengths_figure(LENGTHS, cut_off=10), tmp_path / "new", "document_lengths")
    assert [path.name for path in written] == ["document_lengths.png", "document_lengths.svg"]
    assert all(path.stat().st_size > 1000 for path in written)
    with pytest.raises(ValueError, match="Expected: formats among .*bmp"):
        save_figure(lambda: document_lengths_figure(LENGTHS, cut_off=10), tmp_path, "document_lengths", ["bmp"])
