"""The summary table: right numbers, all rows, within 80 columns."""

from __future__ import annotations

import io

import xarray
from rich.console import Console

from lth_keras.report import summary_table
from lth_keras.storage import assemble
from tests.synthetic import CREATED, dataset, level_result, levels_of


def lines(run: xarray.Dataset, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(summary_table(run))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_means_and_ranges_are_those_of_the_dataset() -> None:
    run = dataset(trials=3, levels=2)
    text = lines(run)
    place = text.index("random_reinit")
    cell = run.sel(branch="random_reinit", level=1)
    expected = ["1", f"{100 * float(cell.density.mean()):.1f}"]
    for name, factor, digits in (
        ("early_stop_step", 1, 0),
        ("test_accuracy_at_early_stop", 100, 2),
        ("test_accuracy_final", 100, 2),
    ):
        values = cell[name].values * factor
        mean, low, high = (f"{v:.{digits}f}" for v in (values.mean(), values.min(), values.max()))
        expected += [mean, f"{low}-{high}"]
    assert text[place + 1].split() == expected
    assert "3 trials" in text[0]


def test_multi_label_runs_have_columns_of_micro_f1() -> None:
    text = " ".join(lines(dataset(trials=1, levels=1, classes=3, multi_label=True))[:4])
    assert text.count("test micro-F1 at") == 2 and "accuracy" not in text
    assert "micro-F1" not in " ".join(lines(dataset(trials=1, levels=1))[:4])


def test_every_branch_and_level_has_a_row_and_the_dense_level_one() -> None:
    text = lines(dataset(trials=2, levels=3))
    names = [line for line in text if line and not line.startswith(" ")]
    assert [n for n in names if "_" in n or n == "dense"] == [
        "dense",
        "winning_ticket",
        "random_reinit",
        "random_mask",
    ]
    numbers = [line.split()[0] for line in text if line.startswith("    ") and line.split()]
    assert [n for n in numbers if n.isdigit()] == ["0", *("1", "2", "3") * 3]


def test_it_fits_eighty_columns_without_cutting() -> None:
    text = lines(dataset(trials=5, levels=24))
    assert all(len(line) <= 80 and "…" not in line for line in text)


def test_one_trial_has_no_range() -> None:
    text = lines(dataset(trials=1, levels=1))
    assert "1 trial" in text[0]
    assert len(text[text.index("winning_ticket") + 1].split()) == 5


def test_levels_that_some_trials_lack_are_marked_and_those_all_lack_left_out() -> None:
    results = [r for r in levels_of(trials=3, levels=2) if r.seed == 0 or r.level < 2]
    results.append(level_result(0, "other", 5))
    run = assemble(results, experiment="x", config={}, versions={}, created=CREATED)
    text = lines(run)
    row = text[text.index("winning_ticket") + 2]
    assert row.split()[:2] == ["2", "(1/3)"] and "-" not in row
    assert text[text.index("other") + 1].split()[0] == "5"
    assert not any(line.startswith("    3") for line in text)


def test_what_is_not_measured_is_a_dash() -> None:
    run = dataset(trials=2, levels=1)
    run["test_accuracy_final"] = run.test_accuracy_final * float("nan")
    assert lines(run)[-1].split()[-1] == "-"


def test_without_a_validation_split_it_says_what_early_stop_is() -> None:
    text = " ".join(" ".join(lines(dataset(trials=1, levels=1, validated=False))).split())
    assert text.endswith("early stop: no validation split: the last step is taken for it")
    assert "validation" not in " ".join(lines(dataset(trials=1, levels=1)))
