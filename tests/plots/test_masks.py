"""The picture of a mask: a bar for each weight, and what is kept of the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from lth_keras.mask import Mask
from lth_keras.plots import masks_figure, save_figure
from tests.few import few


def random_mask(shapes: dict[str, tuple[int, ...]], density: float = 0.3) -> Mask:
    generator = np.random.default_rng(0)
    return Mask({key: generator.random(shape) < density for key, shape in shapes.items()})


def bars(figure: Figure) -> list[float]:
    return [float(patch.get_width()) for patch in figure.axes[0].patches]  # type: ignore[attr-defined]


def image(figure: Figure) -> np.ndarray:
    return np.ma.filled(figure.axes[1].images[0].get_array(), np.nan)


def test_bars_are_the_shares_of_the_weights_in_order() -> None:
    mask = random_mask({"b/kernel": (20, 10), "a/kernel": (10, 3)})
    figure = masks_figure(mask)
    np.testing.assert_allclose(bars(figure), [100 * share for share in mask.densities().values()])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b/kernel", "a/kernel"]
    assert f"{100 * mask.density:.3g}%" in figure.axes[0].get_legend().get_texts()[0].get_text()
    np.testing.assert_allclose(image(figure), 100 * mask["b/kernel"])


def test_pixels_are_where_they_are_in_the_image() -> None:
    kept = np.zeros((24, 5), bool)
    kept[9, :4] = True  # row 1, column 3 of 6 columns
    expected = np.zeros((4, 6))
    expected[1, 3] = 80
    np.testing.assert_allclose(image(masks_figure({"a": kept}, pixels=(4, 6))), expected)
    coloured = np.zeros((24, 5), bool)
    coloured[14:16] = True  # row 1, column 3 of 4 columns, two of its two channels
    found = image(masks_figure({"a": coloured}, pixels=(3, 4, 2)))
    assert found[1, 3] == 100 and np.count_nonzero(found) == 1


def test_filters_are_apart_and_averaged_over_channels() -> None:
    kept = np.zeros((3, 2, 4, 5), bool)
    kept[2, 1, :3, 4] = True
    found = image(masks_figure({"conv": kept}))
    assert found.shape == (2 * 4 - 1, 3 * 3 - 1)  # five filters of 3 x 2 in two rows of three, with gaps
    assert found[4 + 2, 3 + 1] == 75 and np.nansum(found) == 75
    assert np.isnan(found[3]).all() and np.isnan(found[:, 2]).all()


def test_a_large_matrix_is_averaged() -> None:
    kept = np.zeros((1000, 10), bool)
    kept[990:] = True
    found = image(masks_figure({"a": kept}))
    assert found.shape == (91, 10)  # 11 rows each
    assert found[-1].tolist() == [100] * 10 and found[:-1].sum() == 0


@few("style", ["screen", "paper"], "screen")
@few("layers", [2, 60], 60)
def test_every_name_and_number_is_inside_and_apart(layers: int, style: str, tmp_path: Path) -> None:
    shapes = {f"stage/block_{n}/a_long_name_of_a_layer/conv2d_{n}/kernel": (3, 3, 4, 4) for n in range(layers)}
    kept: list[Figure] = []

    def draw() -> Figure:
        kept.append(masks_figure(random_mask(shapes)))
        return kept[0]

    (path,) = save_figure(draw, tmp_path, "masks", ["png"], style)
    assert path.stat().st_size > 5000
    figure = kept[0]
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)
    tops = sorted((box.y0, box.y1) for box in boxes)
    assert all(lower[1] <= upper[0] + 1 for lower, upper in zip(tops, tops[1:], strict=False))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: one of no weights"):
        masks_figure({})
    with pytest.raises(ValueError, match=r"Expected pixels=.*Received: \(5, 5\) for a of shape \(24, 5\)"):
        masks_figure({"a": np.ones((24, 5), bool)}, pixels=(5, 5))
