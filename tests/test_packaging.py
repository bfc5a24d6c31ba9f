"""The rules that hold the repository together, read off the source and never by importing it."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("lth_keras", "datasets", "experiments", "benchmarks", "tests")
BACKENDS = {"tensorflow", "jax", "torch"}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow"}

LAYERS = (
    ("arrays", "seeds", "system"),
    ("mask",),
    ("analysis", "models"),
    ("backends", "storage"),
    ("layers",),
    ("masking",),
    ("data",),
    ("compacting", "criteria"),
    ("pruning",),
    ("training", "callbacks", "export"),
    ("search",),
    ("plots", "report"),
    ("cli",),
)
"""The rooms of docs/architecture.md: each may import those of earlier lines. An import for types only counts, too."""
WITHOUT_KERAS = {"arrays", "seeds", "mask", "analysis", "storage", "criteria", "plots", "report", "cli"}
"""A command line imports these before it sets KERAS_BACKEND."""


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The dotted names of everything a file imports, at the top or inside a function."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """The first name below lth_keras: a folder, or a file without its ending."""
    parts = path.relative_to(ROOT / "lth_keras").with_suffix("").parts
    return parts[0]


def rooms_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imports(path))
    return {name[1] for name in names if name[0] == "lth_keras" and len(name) > 1}


def library_files() -> list[Path]:
    return [path for path in sources("lth_keras") if path != ROOT / "lth_keras" / "__init__.py"]


def test_only_one_room_imports_a_backend() -> None:
    found = {
        str(path.relative_to(ROOT)): name
        for path in sources("lth_keras")
        if room(path) != "backends" and path.parts[-2:] != ("export", "models.py")  # options of TensorFlow's converter
        for name in imports(path)
        if name.split(".")[0] in BACKENDS
    }
    assert found == {}


def test_every_room_is_known() -> None:
    assert {room(path) for path in library_files()} == {name for layer in LAYERS for name in layer}


def test_rooms_import_only_the_rooms_below_them() -> None:
    height = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    found = {
        str(path.relative_to(ROOT)): above
        for path in library_files()
        if (above := {n for n in rooms_imported(path) - {room(path)} if height[n] >= height[room(path)]})
    }
    assert found == {}, "docs/architecture.md says who may import whom"


def test_a_room_is_entered_by_its_door() -> None:
    """Others import a room's names from its folder, not from the files in it."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("lth_keras", "datasets", "experiments", "benchmarks")
        for path in sources(folder)
        for name in imports(path)
        if name.startswith("lth_keras.") and not (folder == "lth_keras" and name.split(".")[1] == room(path))
        if ROOT.joinpath(*name.split(".")[:-1]).with_suffix(".py").is_file() and name.count(".") > 2
    }
    assert found == set()


def test_rooms_without_models_do_not_import_keras() -> None:
    # models imports its files at first use, system imports Keras within functions, and cli what exports networks.
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in library_files()
        if room(path) in WITHOUT_KERAS
        if (wrong := {name for name in imports(path) if name.split(".")[0] == "keras"})
        or (
            wrong := rooms_imported(path)
            - WITHOUT_KERAS
            - {"models", "system", "search" if room(path) == "cli" else ""}
        )
    }
    assert found == {}


@pytest.mark.parametrize("folder", ["lth_keras", "datasets"])
def test_what_is_below_imports_nothing_that_is_above(folder: str) -> None:
    others = set(OURS) - {folder}
    found = {
        str(path.relative_to(ROOT)): name
        for path in sources(folder)
        for name in imports(path)
        if name.split(".")[0] in others
    }
    assert found == {}


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def requirements(text: str) -> dict[str, str]:
    """Return {name of the distribution, normalised: the rest of its line}."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    parsed = (re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?(.*)", line) for line in lines)
    return {m[1].lower().replace("_", "-"): m[2].strip() for m in parsed if m}


def required(extra: str = "") -> dict[str, str]:
    """Return what the library requires, or one of its extras with the extras that it names."""
    config = setup()
    if not extra:
        return requirements(config["options"]["install_requires"])
    text = config["options.extras_require"][extra]
    found = {name: bound for name, bound in requirements(text).items() if name != "lth-keras"}
    for others in re.findall(r"^lth_keras\[([\w,]+)\]$", text, re.MULTILINE):
        for other in others.split(","):
            found |= required(other)
    return found


def imported(*folders: str) -> set[str]:
    """Return the distributions that the files of these folders import, at the top or inside a function."""
    tops = {name.split(".")[0] for folder in folders for path in sources(folder) for name in imports(path)}
    others = tops - set(OURS) - sys.stdlib_module_names
    return {DISTRIBUTIONS.get(name, name).lower().replace("_", "-") for name in others}


def test_the_library_requires_exactly_what_it_imports() -> None:
    by_keras = {"onnx", "tf2onnx"}  # imported by its exporter
    optional = {name for extra in ("native", "jax", "torch", "litert", "onnx") for name in required(extra)} - by_keras
    assert required().keys() - {"h5netcdf"} == imported("lth_keras") - optional
    assert optional <= imported("lth_keras")
    assert "h5netcdf" in required()  # xarray imports it


def test_the_experiments_require_exactly_what_they_import_beside_the_library() -> None:
    undeclared = {"importlib-resources"}  # tensorflow-datasets imports it without declaring it
    assert required("experiments").keys() - undeclared == imported("experiments", "datasets") - required().keys()
    assert required("experiments").keys() <= required("dev").keys()


def test_what_tests_and_benchmarks_import_is_declared() -> None:
    declared = required().keys() | required("dev").keys() | required("bench").keys()
    assert imported("tests") <= declared and imported("benchmarks") <= declared


def test_every_requirement_has_a_lower_bound() -> None:
    for extra in ("", *setup()["options.extras_require"]):
        assert {name for name, bound in required(extra).items() if not bound.startswith(">=")} == set()


def test_only_the_library_is_installed() -> None:
    # An installed `datasets` would stand in the way of another package of that name.
    config = setup()
    assert config["options"]["packages"] == "find:"
    assert config["options.packages.find"]["include"].split() == ["lth_keras*"]


def tracked() -> list[Path]:
    """The files git has, or would have after `git add`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in result.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_path_of_one_machine() -> None:
    # Put together here, so that this file does not name them either.
    folders = "|".join(["home", "root", "work", "Users", "mnt", "tmp/work"])
    machine = re.compile(rf"(?<![\w./-])/({folders})/[\w.]".encode())
    data = b"shared" + b"/data"
    found = set()
    for path in tracked():
        content = path.read_bytes()
        name = path.relative_to(ROOT).as_posix()
        if machine.search(content) or (data in content and name != ".ci/run"):
            found.add(name)
    assert found == set()


def test_an_experiment_is_parameters_and_little_else() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "experiments").glob("*.py")}
    lengths = {name: len(text.splitlines()) for name, text in texts.items() if '__name__ == "__main__"' in text}
    assert lengths and {name: length for name, length in lengths.items() if length > 120} == {}


def test_no_test_patches_a_private_name() -> None:
    patch = re.compile(r"""(?:setattr|patch\.object)\([^()]*["'](?:[\w.]+\.)?_[a-z]\w*["']""")
    found = {path.name: patch.findall(path.read_text(encoding="utf-8")) for path in sources("tests")}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize("room", ["layers", "masking"])
def test_a_room_can_be_what_a_process_imports_first(room: str) -> None:
    code = f"import lth_keras.{room}, sys; assert 'lth_keras.masking' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
