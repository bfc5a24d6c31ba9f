"""Run directories: named by their parameters, resumable, and careful with what is in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import xarray

from lth_keras.storage import Facts, LevelResult, RunDirectory, open_run, read_level
from lth_keras.storage.contents import progress
from tests.few import few
from tests.synthetic import level_result, levels_of

CONFIG = {"steps": 2000, "rates": {"dense": 0.2, "output": 0.1}, "rewind": "init"}


def opened(out: Path, **options: int) -> RunDirectory:
    return RunDirectory.open(out, "digits", CONFIG, **options)


def test_the_name_depends_on_the_parameters_and_not_on_their_order(tmp_path: Path) -> None:
    run = opened(tmp_path)
    assert run.path.parent == tmp_path and run.path.name.startswith("digits-")
    assert len(run.path.name) == len("digits-") + 8
    assert RunDirectory.open(tmp_path, "digits", dict(reversed(CONFIG.items()))).path == run.path
    assert RunDirectory.open(tmp_path, "digits", {**CONFIG, "steps": 2001}).path != run.path


def test_the_hash_is_the_documented_one(tmp_path: Path) -> None:
    assert RunDirectory.open(tmp_path, "x", {"b": [1, 2.5], "a": None}).path.name == "x-e57f5d37"


def test_opening_again_keeps_the_record(tmp_path: Path) -> None:
    first = opened(tmp_path, threads=2)
    before = (first.path / "config.json").read_bytes()
    again = opened(tmp_path, threads=2)
    assert (first.path / "config.json").read_bytes() == before
    assert again.config == CONFIG and again.threads == 2 and again.experiment == "digits"
    assert opened(tmp_path).threads == 2
    assert set(json.loads(before)) == {"experiment", "config", "versions", "created", "threads", "sha256"}
    assert "numpy" in again.versions


def test_another_number_of_threads_is_refused(tmp_path: Path) -> None:
    assert RunDirectory.recorded(tmp_path, "digits", CONFIG) is None
    opened(tmp_path, threads=2)
    assert RunDirectory.recorded(tmp_path, "digits", CONFIG).threads == 2
    with pytest.raises(ValueError, match="made with 2 threads.*pass --threads 2 or .*--out"):
        opened(tmp_path, threads=1)


def test_a_config_changed_by_hand_is_refused_and_named(tmp_path: Path) -> None:
    path = opened(tmp_path).path / "config.json"
    record = json.loads(path.read_text())
    record["config"]["rates"]["dense"] = 0.3
    del record["config"]["steps"]
    record["config"]["extra"] = 1
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="rates.dense=0.3, expected 0.2") as error:
        opened(tmp_path)
    assert "steps missing" in str(error.value) and "extra=1 unexpected" in str(error.value)


@pytest.mark.parametrize("text", ["", "[1]", '{"experiment": "digits"}'])
def test_a_broken_record_is_refused(tmp_path: Path, text: str) -> None:
    (opened(tmp_path).path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json"):
        opened(tmp_path)


def test_an_output_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="output directory that can be written.*choose another"):
        opened(tmp_path / "file" / "runs")


@pytest.mark.usefixtures("bound_by_permissions")
def test_an_unwritable_output_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="choose another with --out"):
        opened(tmp_path)


def test_the_kind_of_the_error_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(PermissionError, match="Permission denied.*choose another with --out"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", ".hidden", "x\0"])
def test_names_that_leave_the_directory_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="part of a path"):
        RunDirectory.open(tmp_path, name, CONFIG)
    with pytest.raises(ValueError, match="part of a path"):
        opened(tmp_path).level_path(0, name, 1)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_a_config_that_is_not_json_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match="JSON"):
        RunDirectory.open(tmp_path, "digits", {"x": value})


def test_level_paths(tmp_path: Path) -> None:
    run = opened(tmp_path)
    path = run.level_path(7, "random_reinit", 3)
    assert path == run.path / "levels/seed_7/random_reinit/level_03.h5"
    assert run.level_path(7, "random_reinit", 0) == run.path / "levels/seed_7/dense/level_00.h5"


def test_levels_are_written_found_and_read(tmp_path: Path) -> None:
    run = opened(tmp_path)
    assert run.finished() == set() and run.read(0, "winning_ticket", 1) is None
    for result in (level_result(0, level=0), level_result(0, level=1), level_result(-4, "b", 12)):
        run.write(result)
    assert run.finished() == {(0, "dense", 0), (0, "winning_ticket", 1), (-4, "b", 12)}
    read = run.read(0, "random_mask", 0)
    assert read is not None and read.branch == "dense" and read.level == 0
    assert opened(tmp_path).finished() == run.finished()


def test_files_that_are_no_levels_are_not_finished(tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.write(level_result(0, level=1))
    folder = run.level_path(0, "winning_ticket", 1).parent
    for name in (".level_02.h5.12-ab.tmp", "level_03.h5.damaged", "notes.h5"):
        (folder / name).write_text("")
    assert run.finished() == {(0, "winning_ticket", 1)}


@pytest.mark.parametrize("look", [RunDirectory.read, RunDirectory.summary])
def test_a_truncated_level_is_set_aside_with_a_notice(tmp_path: Path, look: Any) -> None:
    run = opened(tmp_path)
    path = run.level_path(0, "winning_ticket", 2)
    for damage in ("first", "second"):
        run.write(level_result(0, level=2))
        path.write_bytes(path.read_bytes()[:900] + damage.encode())
        with pytest.warns(UserWarning, match="level_02.h5.*Renamed to .*trained again"):
            assert not look(run, 0, "winning_ticket", 2)
    assert not path.exists() and run.finished() == set()
    aside = sorted(path.parent.glob("*.damaged*"))
    assert [p.read_bytes()[900:] for p in aside] == [b"first", b"second"]


def test_a_level_is_verified_where_it_is_whole(tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.write(level_result(0, level=2))
    assert run.summary(0, "winning_ticket", 2)
    assert not run.summary(0, "winning_ticket", 3)


@pytest.mark.parametrize("look", [RunDirectory.read, RunDirectory.summary])
def test_a_level_in_the_place_of_another_is_set_aside(tmp_path: Path, look: Any) -> None:
    run = opened(tmp_path)
    run.write(level_result(0, level=2))
    os.replace(run.level_path(0, "winning_ticket", 2), run.level_path(0, "winning_ticket", 3))
    with pytest.warns(UserWarning, match="Received: seed 0, branch 'winning_ticket', level 2"):
        assert not look(run, 0, "winning_ticket", 3)


def test_a_run_file_has_every_good_level(tmp_path: Path) -> None:
    run = opened(tmp_path)
    for result in levels_of(trials=2, levels=2):
        run.write(result)
    run.level_path(1, "random_mask", 2).write_bytes(b"cut")
    with pytest.warns(UserWarning, match="random_mask"):
        path = run.write_run()
    dataset = open_run(run.path)
    assert path == run.path / "run.h5"
    missing = dataset.density.isnull()
    assert int(missing.sum()) == 1
    assert bool(missing.sel(trial=1, branch="random_mask", level=2))
    assert json.loads(dataset.attrs["config"]) == CONFIG
    assert dataset.attrs["created"] == run.created


@pytest.mark.slow
def test_a_run_file_says_how_many_trainings_were_asked_for(tmp_path: Path) -> None:
    """Those that are there count, whether they were asked for the last time or not."""
    run = opened(tmp_path)
    for result in levels_of(trials=1, levels=2):
        run.write(result)
    asked = [(0, "dense", 0), (1, "dense", 0), (1, "winning_ticket", 1)]
    dataset = open_run(run.write_run(asked=asked, facts=Facts(steps_per_epoch=7)))
    assert progress(dataset) == (7, 9, True) and int(dataset.attrs["steps_per_epoch"]) == 7
    assert "trainings" not in open_run(run.write_run()).attrs


def test_the_order_of_writing_changes_no_number_of_the_run_file(tmp_path: Path) -> None:
    datasets = []
    for name, order in (("forward", 1), ("backward", -1)):
        run = opened(tmp_path / name)
        for result in list(levels_of(trials=2, levels=1))[::order]:
            run.write(result)
        datasets.append(open_run(run.write_run()).assign_attrs(created=""))
    xarray.testing.assert_identical(*datasets)


def test_a_run_without_levels_has_no_run_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one finished level"):
        opened(tmp_path).write_run()


KILLED = """
import os, signal, sys
from lth_keras.storage import RunDirectory
from tests.synthetic import level_result
run = RunDirectory.open(sys.argv[1], "digits", {"a": 1})
run.write(level_result(0, level=1))
kill = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], kill)
run.write(level_result(0, level=2))
"""


@few("moment", ["fsync", "replace"], "replace")
def test_a_kill_while_writing_loses_that_level_only(tmp_path: Path, moment: str) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path), moment]
    killed = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    assert killed.returncode == -9
    run = RunDirectory.open(tmp_path, "digits", {"a": 1})
    assert run.finished() == {(0, "winning_ticket", 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(run.read(0, "winning_ticket", 1), LevelResult)
        assert run.read(0, "winning_ticket", 2) is None


def test_resumed_weights_are_read_when_asked_for(tmp_path: Path) -> None:
    run = opened(tmp_path)
    mask = level_result(level=1).mask
    run.write(level_result(level=1, weights={key: bits * 0.5 for key, bits in mask.items()}))
    read = run.read(0, "winning_ticket", 1, weights=True)
    assert read is not None and read.weights is not None and set(read.weights) == set(mask)
    assert read_level(run.level_path(0, "winning_ticket", 1)).weights is None


@pytest.mark.parametrize(
    "name",
    [
        "seed_0/winning_ticket/level_3.h5",
        "seed_0/winning_ticket/level_003.h5",
        "seed_00/winning_ticket/level_03.h5",
        "seed_-0/winning_ticket/level_03.h5",
        "seed_0/random_mask/level_00.h5",
        "seed_0/a:b/level_03.h5",
        "seed_0/winning_ticket/level_٠٣.h5",
    ],
)
def test_only_files_at_the_place_of_a_level_are_levels(tmp_path: Path, name: str) -> None:
    run = opened(tmp_path)
    run.write(level_result(0, level=3))
    path = run.path / "levels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(run.level_path(0, "winning_ticket", 3), path)
    assert run.finished() == set()
    with run.locked():
        assert path.exists()


def test_a_link_to_nothing_and_a_folder_are_no_levels(tmp_path: Path) -> None:
    run = opened(tmp_path)
    path = run.level_path(0, "winning_ticket", 3)
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "none")
    run.level_path(0, "winning_ticket", 4).mkdir()
    assert run.finished() == set()
    run.write(level_result(0, level=3))
    assert run.finished() == {(0, "winning_ticket", 3)} and not (tmp_path / "none").exists()


def test_what_a_user_keeps_in_a_run_is_left_alone(tmp_path: Path) -> None:
    run = opened(tmp_path)
    asked = {(0, "dense", 0), (0, "winning_ticket", 1)}
    for key in asked:
        run.write(level_result(*key))
    shutil.copytree(run.path / "levels/seed_0/winning_ticket", run.path / "levels/seed_0/winning_ticket copy")
    shutil.copytree(run.path / "levels/seed_0", run.path / "levels/seed_5")
    (run.path / "levels/seed_0/notes").mkdir()
    (run.path / "levels/seed_0/notes/level_01.h5").write_text("mine")
    (run.path / ".x.tmp").write_text("mine")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.warns(UserWarning, match="Ignored and not renamed"):
        with run.locked(asked):
            pass
        run.write_run(asked=asked)
    assert {path: path.read_bytes() for path in before} == before and not list(run.path.rglob("*.damaged"))
    assert open_run(run.path).trial.values.tolist() == [0]
    assert open_run(run.path).branch.values.tolist() == ["winning_ticket"]
    run.level_path(0, "winning_ticket", 1).write_text("cut")
    with pytest.warns(UserWarning, match="Renamed to"), run.locked(asked):
        assert run.finished() & asked == {(0, "dense", 0)}


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"experiment": "digitß"}'.encode("latin-1"), "another encoding than UTF-8"),
        ('{"experiment": "x"}'.encode("utf-16"), "another encoding than UTF-8"),
        (b"[" * 100_000, "lists within lists|RecursionError|Expecting"),
        (b'{"experiment": NaN}', "NaN, which is no JSON"),
        (b'{"experiment": "a", "experiment": "b"}', "an entry twice"),
        (b'"text"', "a str, no record"),
    ],
)
def test_a_record_that_is_none_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = opened(tmp_path).path / "config.json"
    path.write_bytes(content)
    for look in (lambda: opened(tmp_path), lambda: RunDirectory.load(path.parent)):
        with pytest.raises(ValueError, match=f"config.json as lth_keras writes it. Received: .*({message})"):
            look()


@pytest.mark.parametrize(
    "changes",
    [{"threads": "2"}, {"threads": 0}, {"threads": True}, {"vectorize": 1.5}, {"vectorize": None}, {"versions": []}]
    + [{"versions": {"keras": 3}}, {"created": 7}, {"created": "yesterday"}, {"config": "x"}, {"experiment": None}],
    ids=str,
)
def test_entries_of_another_type_are_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = opened(tmp_path).path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=rf"config.json.*{next(iter(changes))} "):
        RunDirectory.load(path.parent)


def test_an_entry_changed_by_hand_is_noticed_and_older_records_have_no_checksum(tmp_path: Path) -> None:
    run = opened(tmp_path)
    path = run.path / "config.json"
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "created": "2020-01-01"}))
    with pytest.raises(ValueError, match="changed after it was written"):
        RunDirectory.load(run.path)
    del entry["sha256"]
    path.write_text(json.dumps(entry))
    assert RunDirectory.load(run.path).created == opened(tmp_path).created == entry["created"]
