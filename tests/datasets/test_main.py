from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from datasets import mnist
from datasets.__main__ import main


def test_the_list_names_every_data_set_where_it_is_looked_for_and_its_counts(
    small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    header, digits, mnist_line, cifar10_line, newsgroups_line, *others = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["name", "here"]
    assert digits.split()[:2] == ["digits", "yes"] and "1,197 / 300 / 300" in digits
    assert mnist_line.split()[:2] == ["mnist", "yes"] and str(small_mnist) in mnist_line
    assert cifar10_line.split()[:2] == ["cifar10", "no"] and "45,000 / 5,000 / 10,000" in cifar10_line
    assert newsgroups_line.split()[0] == "newsgroups" and "10,183 / 1,131 / 7,532" in newsgroups_line
    reuters_line, last = others
    assert reuters_line.split()[:2] == ["reuters", "no"] and "6,993 / 777 / 3,019" in reuters_line
    assert "Packed parts come first" in last and "LTH_DATA_DIR" in last


def test_what_is_absent_is_listed_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path))
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["mnist", "no"]


def test_fetching_what_is_there_says_where(small_mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "mnist"]) == 0
    assert str(small_mnist) in capsys.readouterr().out


def test_fetching_without_a_network_says_why_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = dataclasses.replace(mnist.IMAGES, address="https://127.0.0.1:9/mnist")
    monkeypatch.setattr(mnist, "IMAGES", images)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert main(["fetch", "mnist"]) == 1
    captured = capsys.readouterr()
    assert "TFDS_DATA_DIR" in captured.err and "Traceback" not in captured.err


def test_an_unknown_data_set_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["fetch", "imagenet"])
    assert error.value.code == 2
    assert "imagenet" in capsys.readouterr().err
