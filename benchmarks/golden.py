"""Checks that this tree and another commit compute the same: runs the same commands on both, one after the other.

    python -m benchmarks.golden REF            # the short list
    python -m benchmarks.golden REF --whole    # every case
    python -m benchmarks.golden REF --only digits reuters

REF is checked out into .golden/ with its own environment, made once. Every variable that both have in run.h5 and level
files must be bit-identical, except seconds, memory, times and versions. Files from another machine or day are never
compared, since processors differ in rounding.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".golden"
MODELS = Path(__file__).with_name("golden_models.py")
NOT_COMPARED = ("seconds", "peak_memory_bytes", "made", "checksum")
"""Variables and groups that differ from run to run, or record what a level was made with."""


class Case(NamedTuple):
    """Commands that both trees run.

    Attributes:
        commands: arguments of Python, run in order; `{out}` is the output folder.
        short: whether it is in the short list.
        continued: whether this tree also continues REF's run: it runs the last command in a copy of what REF's earlier
            commands wrote.
    """

    commands: tuple[str, ...]
    short: bool = False
    continued: bool = False


DIGITS = "-m experiments.digits_lenet_fcn --out {out}"
COMPOSITE = (
    "-m experiments.composite_pruning --preset none --epochs 1 --shots 5 --trials 1 --densities 0.2 0.05 --levels 2"
)
CASES = {
    "digits": Case((f"{DIGITS} --trials 2 --levels 3",), short=True),
    "digits_jax": Case((f"{DIGITS} --trials 2 --levels 2 --backend jax",), short=True),
    "workers": Case((f"{DIGITS} --trials 2 --levels 2 --workers 2 --threads 1",), short=True),
    "fresh_graphs": Case((f"{DIGITS} --trials 1 --levels 2 --fresh-graphs",)),
    "vectorize": Case((f"{DIGITS} --trials 2 --levels 2 --backend jax --vectorize 6",), short=True),
    "compact": Case((f"{DIGITS} --trials 1 --levels 3 --compact",), short=True),
    "fused": Case((f"{DIGITS} --trials 1 --levels 2 --fused",), short=True),
    "resume": Case((f"{DIGITS} --trials 1 --levels 1", f"{DIGITS} --trials 2 --levels 2"), short=True, continued=True),
    "criteria": Case(
        tuple(
            f"{DIGITS} --trials 1 --levels 2 --criterion {name} --steps 100"
            for name in ("snip", "grasp", "synflow", "random", "movement", "initial_magnitude")
        )
    ),
    "digits_whole": Case((DIGITS,)),
    "digits_whole_jax": Case((f"{DIGITS} --backend jax",)),
    "mnist": Case(("-m experiments.mnist_lenet_fcn --trials 1 --levels 1 --steps 300 --out {out}",)),
    "mnist_jax": Case(("-m experiments.mnist_lenet_fcn --trials 1 --levels 1 --steps 300 --backend jax --out {out}",)),
    "early": Case(
        ("-m experiments.mnist_early_tickets --trials 1 --levels 1 --epochs 1 --mask-epochs 0 1 --out {out}",)
    ),
    "postmortem": Case(("-m experiments.thesis_postmortem --trials 1 --levels 1 --steps 300 --out {out}",)),
    "composites": Case(
        (
            f"{COMPOSITE} --criteria snip synflow --schedules uss ums iss ims --out {{out}}",
            f"{COMPOSITE} --rows stacked_snip_synflow_uss weights_synflow_snip_uss bimodal_synflow_snip_uss "
            "--out {out}",
        )
    ),
    "reuters": Case(("-m experiments.reuters --trials 1 --levels 1 --epochs 1 --out {out}",)),
    "newsgroups": Case(
        (
            "-m experiments.newsgroups_end2end --levels 1 --steps 20 --evaluate-every 10 --test-every 20 --tokens 50 "
            "--dimension 20 --vocabulary training --branches winning_ticket --out {out}",
        )
    ),
    "conv_2": Case(("-m experiments.cifar10_conv2 --trials 1 --levels 1 --steps 100 --test-every 100 --out {out}",)),
    "models": Case((f"{MODELS} {{out}}",), short=True),
    "models_jax": Case((f"{MODELS} {{out}} jax",)),
}


def main() -> int:
    """Runs the cases; returns 1 if something differs, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ref", help="a commit, such as a tag")
    parser.add_argument("--whole", action="store_true", help="every case, not the short list")
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help=f"these cases: {', '.join(CASES)}")
    parser.add_argument("--same-environment", action="store_true", help="use this environment for REF too")
    options = parser.parse_args()
    tree = check_out(options.ref)
    python = Path(sys.executable) if options.same_environment else environment(tree)
    names = options.only or [name for name, case in CASES.items() if options.whole or case.short]
    different = []
    for name in names:
        started = time.perf_counter()
        print(f"{name:18}", end="", flush=True)
        problems = compare_case(name, CASES[name], tree, python)
        print(f"{'equal' if not problems else 'DIFFERENT':10} {time.perf_counter() - started:5.0f} s", flush=True)
        for problem in problems:
            print(f"    {problem}")
        different += [name] if problems else []
    print(f"{len(names) - len(different)} of {len(names)} cases are equal to {options.ref}, bit for bit.")
    return 1 if different else 0


def check_out(ref: str) -> Path:
    """The commit's work tree, made once."""
    commit = subprocess.check_output(["git", "rev-parse", f"{ref}^{{commit}}"], cwd=ROOT, text=True).strip()
    tree = HOME / commit[:12]
    if not tree.exists():
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True)
    return tree


def environment(tree: Path) -> Path:
    """The Python of the tree's environment, which its Makefile creates."""
    subprocess.run(["make", "--quiet", ".venv/.installed"], cwd=tree, check=True)
    return tree / ".venv" / "bin" / "python"


def compare_case(name: str, case: Case, tree: Path, python: Path) -> list[str]:
    """Runs a case on both trees; returns the differences."""
    ref, head = HOME / "out" / name / "ref", HOME / "out" / name / "head"
    shutil.rmtree(HOME / "out" / name, ignore_errors=True)
    begun = HOME / "out" / name / "begun"
    for i, command in enumerate(case.commands):
        if case.continued and i == len(case.commands) - 1:
            shutil.copytree(ref, begun)
        for where, run, out in ((tree, python, ref), (ROOT, Path(sys.executable), head)):
            problem = run_command(command, where, run, out)
            if problem:
                return [problem]
    problems = list(differences(ref, head))
    if case.continued:
        problem = run_command(case.commands[-1], ROOT, Path(sys.executable), begun)
        problems += [problem] if problem else [f"begun by REF: {each}" for each in differences(ref, begun)]
    return problems


def run_command(command: str, tree: Path, python: Path, out: Path) -> str | None:
    """Runs a command in the tree; returns None, or the error."""
    out.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(python), *command.format(out=out).split()],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (out.parent / f"{out.name}.log").write_text(done.stdout)
    if done.returncode == 0:
        return None
    return f"{tree}: exit {done.returncode} of {command}: {' | '.join(done.stdout.strip().splitlines()[-3:])}"


def differences(ref: Path, head: Path) -> Iterator[str]:
    """Differing variables, and files that one tree lacks."""
    files = {
        path.relative_to(folder).as_posix(): None
        for folder in (ref, head)
        for pattern in ("*.h5", "*.npz")
        for path in sorted(folder.rglob(pattern))
    }
    if not files:
        yield "no results"
    for file in files:
        missing = [folder.name for folder in (ref, head) if not (folder / file).exists()]
        if missing:
            yield f"{file}: not in {missing[0]}"
            continue
        yield from (f"{file}: {name}" for name in unequal(values_of(ref / file), values_of(head / file)))


def values_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays and numbers of a file, by name."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            return dict(file)
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
        numbers = {f"@{name}": np.asarray(value) for name, value in file.attrs.items()}
        found.update({name: value for name, value in numbers.items() if value.dtype.kind in "biuf"})
    return {name: value for name, value in found.items() if name.strip("@").split("/")[0] not in NOT_COMPARED}


def unequal(ref: dict[str, np.ndarray], head: dict[str, np.ndarray]) -> Iterator[str]:
    """Names of variables that are not bit-identical, with the largest difference of floats."""
    for name in ref.keys() & head.keys():
        one, other = np.asarray(ref[name]), np.asarray(head[name])
        if one.dtype == object or one.dtype.kind in "OSU":
            same = one.tolist() == other.tolist()
        else:
            same = (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())
        if not same:
            apart = one.shape == other.shape and one.dtype.kind == other.dtype.kind == "f"
            yield f"{name} differs" + (f" by up to {np.nanmax(np.abs(one - other)):.3g}" if apart else "")
    if not ref.keys() & head.keys():
        yield "no variable that both have"


if __name__ == "__main__":
    sys.exit(main())
