"""Divides a number of weights to keep among the layers of a network, and among shots."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from lth_keras.mask import Mask
from lth_keras.system import one_of

SCOPES = ("layer", "global", "uniform", "erk")
"""What weights are ranked within: their layer at one rate, the network, or layers of prescribed densities."""
SHOT_SCHEDULES = ("exponential", "linear")
Density = float | Mapping[str, float]
"""Of the whole network, or, in layer scope, of each weight array by its key."""


def counts_at(
    density: Density, mask: Mask, scope: str, min_per_layer: int = 1, *, last: bool = True, exact: bool = False
) -> int | dict[str, int]:
    """How many weights to keep at a density of the dense network, as argument of `keep_highest`.

    Args:
        density: share of all prunable weights; in layer scope also by weight key.
        mask: the mask so far.
        scope: one of `SCOPES`.
        min_per_layer: least number to leave in a layer, or all of it where it has fewer.
        last: False for an earlier shot, in which a layer keeps at most what it has left.
        exact: in layer scope, whether round(N * density) weights are kept in all, see `layer_shares`; otherwise each
            layer is rounded on its own.

    Raises:
        ValueError: as `layer_shares`, `uniform_counts` and `erk_counts`.
    """
    left = mask.counts()
    if scope == "layer":
        if exact:
            assert not isinstance(density, Mapping)
            return layer_shares(density, mask, min_per_layer, last=last)
        shares = density if isinstance(density, Mapping) else dict.fromkeys(left, density)
        keep = layer_counts(mask.sizes, shares, {key: min(count, min_per_layer) for key, count in left.items()})
        return keep if last else {key: min(left[key], count) for key, count in keep.items()}
    assert not isinstance(density, Mapping)
    kept = round(mask.size * density)
    kept = kept if last else min(kept, mask.kept)
    if scope == "global":
        return kept
    return {"uniform": uniform_counts, "erk": erk_counts}[scope](mask, kept, min_per_layer)


def check_reachable(density: float, mask: Mask, min_per_layer: int = 1) -> None:
    """Raises ValueError, naming the weights, for a density of theirs that no pruning of the mask can reach."""
    kept, left = round(mask.size * density), mask.kept
    least = max(1, sum(min(count, min_per_layer) for count in mask.counts().values()))
    if not least <= kept <= left:
        raise ValueError(
            f"Expected a density that keeps {least} to {left} of the {mask.size} weights of {', '.join(mask)}: "
            f"min_per_layer in each layer, and no more than the model's masks have left. Received: {density}, which "
            f"keeps {kept}."
        )


def layer_counts(sizes: Mapping[str, int], shares: Mapping[str, float], least: Mapping[str, int]) -> dict[str, int]:
    """How many weights of each layer survive at a density of its own: `round(N * density)`, and no fewer than `least`.

    From the dense count N, so that rounding does not add up over levels. With rates the density of level n is
    `(1 - rate) ** n`. Source: iterative pruning, Frankle & Carbin (2019), arXiv:1803.03635, section 1.

    Args:
        sizes: weight key to dense count N.
        shares: weight key to density.
        least: weight key to the least number to keep.
    """
    return {key: max(least[key], round(size * shares[key])) for key, size in sizes.items()}


def layer_shares(density: float, mask: Mask, min_per_layer: int = 1, *, last: bool = True) -> dict[str, int]:
    """How many weights each layer keeps, at one density in each and round(N * density) in all.

    By largest remainder: each layer keeps the integer part of its share, which is its size times the density, and the
    layers with the largest fractions keep one more. So each is within one weight of its share. Where `min_per_layer`
    needs more in some layers, the others keep fewer, in proportion to their sizes.

    Args:
        density: share of all prunable weights, and of those of each layer, counted from the dense network.
        mask: the mask so far.
        min_per_layer: least number to leave in a layer, or all of it where it has fewer.
        last: False for an earlier shot, in which a layer keeps at most what it has left.

    Returns:
        Weight key to a number; they add up to round(N * density) exactly, except in an earlier shot.

    Raises:
        ValueError: for fewer than `min_per_layer` needs, or where a layer has fewer left than its share.
    """
    left, kept = mask.counts(), round(mask.size * density)
    shares = {key: Fraction(float(density)) * size for key, size in mask.sizes.items()}
    counts = {key: math.floor(share) for key, share in shares.items()}
    short = [key for key in counts if counts[key] > left[key]]
    if short and not last:
        return {key: min(left[key], max(counts[key], min(left[key], min_per_layer))) for key in counts}
    if short:
        named = ", ".join(f"{left[key]} of {mask.sizes[key]} in {key}" for key in short)
        raise ValueError(
            f"Expected layers that have at least their share of a density of {density} left. Received: {named}. "
            "Prune with scope='global', or to a lower density."
        )
    if any(share < min(left[key], min_per_layer) for key, share in shares.items()):
        return _shared_out(mask.sizes, mask, kept, min_per_layer)
    return _rounded(shares, left, kept)


def erk_counts(mask: Mask, kept: int, min_per_layer: int = 1) -> dict[str, int]:
    """How many weights each layer keeps, with Erdős-Rényi-kernel densities.

    A layer's density is proportional to the sum of its kernel's sizes over their product, so its number of weights is
    proportional to the sum: `inputs + outputs` of a dense layer, `width + height + inputs + outputs` of a convolution.
    A layer that would keep more than it has keeps all, and the others divide the rest in proportion.

    Source: Mocanu et al. (2018), arXiv:1707.04780; with kernels Evci et al. (2020), arXiv:1911.11134, section 3.

    Args:
        mask: the mask so far; a layer keeps no more than it has left there.
        kept: weights to keep in all.
        min_per_layer: least number to leave in a layer, or all of it where it has fewer.

    Returns:
        Weight key to a number; they add up to `kept` exactly.

    Raises:
        ValueError: for fewer than `min_per_layer` needs, or more than are left.
    """
    return _shared_out({key: sum(shape) for key, shape in mask.shapes.items()}, mask, kept, min_per_layer)


def uniform_counts(mask: Mask, kept: int, min_per_layer: int = 1) -> dict[str, int]:
    """How many weights each layer keeps, at one density for all layers but the first, which is not pruned.

    Source: Evci et al. (2020), arXiv:1911.11134, section 3: pruning the first layer costs much and saves little.
    There the density is that of the other layers; here it is exactly that of all layers together.

    Args:
        mask: the mask so far; a layer keeps no more than it has left there.
        kept: weights to keep in all.
        min_per_layer: as `erk_counts`.

    Returns:
        Weight key to a number; they add up to `kept` exactly.

    Raises:
        ValueError: as `erk_counts`, or where too few remain for the layers after the first.
    """
    first, *_ = mask
    left = mask.counts()
    floors = sum(min(count, min_per_layer) for key, count in left.items() if key != first)
    if kept < left[first] + floors:
        raise ValueError(
            f"Expected at least {left[first] + floors} weights to keep in uniform scope, as the first layer, "
            f"{first!r}, keeps all of its {left[first]}. Received: {kept}; use scope='layer', which prunes it too."
        )
    if len(mask) == 1:
        _check_kept(kept, kept, left[first])
        return {first: kept}
    others = {key: size for key, size in mask.sizes.items() if key != first}
    rest = Mask({key: mask[key] for key in others}, copy=False)
    return {first: left[first], **_shared_out(others, rest, kept - left[first], min_per_layer)}


def shot_densities(density: float, shots: int, schedule: str = "exponential", start: float = 1.0) -> list[float]:
    """The density after each of several shots, the last of which is `density`.

    Exponential: `start * (density / start) ** (s / shots)`, so each shot prunes the same share of what remains. Linear:
    each prunes the same number. Source: Tanaka et al. (2020), arXiv:2006.05467, algorithm 1 (exponential).

    Args:
        density: of the last shot, in (0, 1].
        shots: at least 1.
        schedule: `exponential` or `linear`.
        start: the density before the first shot, no lower than that of the last.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> shot_densities(0.25, 2), shot_densities(0.25, 3, "linear")
        ([0.5, 0.25], [0.75, 0.5, 0.25])
    """
    if not 0 < density <= 1:
        raise ValueError(f"Expected a density in (0, 1], the share of weights to keep. Received: {density}.")
    if start < density:
        raise ValueError(f"Expected shots to start at {density} or more, where they end. Received: start={start}.")
    check_shots(shots, schedule)
    if schedule == "linear":
        before = [start - (start - density) * shot / shots for shot in range(1, shots)]
    else:
        before = [start * (density / start) ** (shot / shots) for shot in range(1, shots)]
    return [*before, density]


def check_shots(shots: int, schedule: str) -> None:
    """Raises ValueError for fewer than one shot, or a schedule that is not in `SHOT_SCHEDULES`."""
    if shots < 1:
        raise ValueError(f"Expected at least 1 shot. Received: {shots}.")
    one_of("schedule", schedule, SHOT_SCHEDULES)


def _shared_out(shares: Mapping[str, float], mask: Mask, kept: int, min_per_layer: int) -> dict[str, int]:
    """Integers in proportion to `shares`, within the limits of each layer, that add up to `kept`."""
    left = mask.counts()
    floors = {key: min(count, min_per_layer) for key, count in left.items()}
    _check_kept(kept, sum(floors.values()), sum(left.values()))

    def targets(factor: float) -> dict[str, float]:
        return {key: min(max(factor * share, floors[key]), left[key]) for key, share in shares.items()}

    low, high = 0.0, max(left[key] / share for key, share in shares.items())
    while low < (middle := (low + high) / 2) < high:  # until they are neighbours among floats
        low, high = (middle, high) if sum(targets(middle).values()) <= kept else (low, middle)
    return _rounded(targets(low), left, kept)


def _rounded(targets: Mapping[str, float | Fraction], left: Mapping[str, int], kept: int) -> dict[str, int]:
    """Integers that add up to `kept`: rounded down, and one more where the fraction is largest."""
    counts = {key: math.floor(target) for key, target in targets.items()}
    by_rest = sorted((key for key in counts if counts[key] < left[key]), key=lambda key: counts[key] - targets[key])
    for key in by_rest[: kept - sum(counts.values())]:
        counts[key] += 1
    return counts


def _check_kept(kept: int, least: int, most: int) -> None:
    if not least <= kept <= most:
        raise ValueError(
            f"Expected to keep {least} to {most} weights: min_per_layer in each layer, and no more than are left. "
            f"Received: {kept}."
        )
