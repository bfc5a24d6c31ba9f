"""What docs/statistics.md shows comes out, and names every option and column."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lth_keras.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "statistics.md"


def test_the_example_prints_what_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r"```sh\nlth-keras (.*?)\n```\n```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(shlex.split(found[1])) == 0
    assert "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines()) == found[2]


@pytest.mark.slow
def test_the_coverage_of_intervals_is_measured_as_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code.replace("(3, 5, 10, 20, 30)", "(5,)").replace("2_000", "300"), {})
    measured = [float(share) for share in re.findall(r"([\d.]+)%", capsys.readouterr().out)]
    row = re.search(r"^\| 5 \|(.*)$", page, re.MULTILINE)
    assert row
    shown = [float(share) for share in re.findall(r"([\d.]+)%", row[1])]
    assert measured == pytest.approx(shown, abs=6.5)  # three standard deviations of 300 sets
    assert measured[2] > max(measured[:2])


def test_every_option_and_column_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    run, target = str(ROOT / "results" / "mnist_lenet_fcn"), tmp_path / "table.csv"
    assert main(["compare", run, "--density", "0.21", "--csv", str(target)]) == 0
    columns = target.read_text().splitlines()[0].split(",")
    table = page.split("## The CSV")[1]
    assert [name for name in columns if f"`{name}`" not in table] == []
    described = re.findall(r"`([a-z_]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "| `" in line))
    assert sorted(described) == sorted(columns)
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    options = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
    assert {option for option in options if f"| `{option} " not in page} == set()
