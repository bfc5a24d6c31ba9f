"""What a benchmark ran on: the machine, the versions and the commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from lth_keras.system import usable_cpus

REPOSITORY = Path(__file__).resolve().parents[1]
MEASURED = ("lth_keras", "datasets", "benchmarks")
"""What the numbers depend on, and the commit stands for."""
PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "ai-edge-litert", "onnxruntime", "openvino")
"""The distributions whose versions are told, where they are installed."""


def describe() -> dict[str, Any]:
    """The machine, versions and commit, as JSON values; sizes in bytes.

    `load_average` is over the minute before: on an idle machine it is near zero.
    """
    commit = _git("rev-parse", "--short", "HEAD")
    return {
        "cpu": _cpu_model(),
        "cores": usable_cpus(),
        "memory_bytes": psutil.virtual_memory().total,
        "accelerators": accelerators(),
        "load_average": round(psutil.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name)) is not None},
        "commit": commit,
        "uncommitted_changes": bool(commit and _git("status", "--porcelain", "--", *MEASURED)),
    }


def as_markdown(described: Mapping[str, Any]) -> str:
    """The same as lines of a Markdown list."""
    changed = " with uncommitted changes" if described["uncommitted_changes"] else ""
    gpus = f"; {', '.join(described['accelerators'])}" if described["accelerators"] else ""
    versions = ", ".join(f"{name} {described[name]}" for name in ("python", *PACKAGES) if name in described)
    return "\n".join(
        [
            f"- Commit: {described['commit'] or 'unknown'}{changed}",
            f"- Machine: {described['cpu']}, {described['cores']} cores, {described['memory_bytes'] / 2**30:.0f} GiB"
            f"{gpus}; {described['system']}; load average before: {described['load_average']}",
            f"- Versions: {versions}",
        ]
    )


def _cpu_model() -> str:
    """The processor's name; `platform.processor()` is empty on most Linux systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@cache
def accelerators() -> list[str]:
    """The names of the GPUs from their driver. Starts no backend, which would allocate GPU memory."""
    names = _printed("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.splitlines() if names else []


def _git(*arguments: str) -> str | None:
    """Output of git; None without git or a repository."""
    return _printed("git", *arguments)


def _printed(*command: str) -> str | None:
    """Output of a command; None if it does not exist or fails."""
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
