"""The site has every page and every public name, and links lead somewhere on a Git host too."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

import lth_keras

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("internals/*.md")]


def toctree(page: Path) -> set[Path]:
    listed = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = [line for block in listed for line in block.splitlines() if line and not line.startswith(":")]
    return {(page.parent / name).resolve() for name in names}


def test_the_site_lists_every_page() -> None:
    listed = set().union(*(toctree(page) for page in PAGES))
    assert {page.with_suffix("") for page in PAGES} - {DOCS / "index"} <= listed


def test_the_reference_has_exactly_the_public_names() -> None:
    names = re.findall(r"^   (\w+)$", (DOCS / "api.rst").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(names) == sorted(lth_keras.__all__)


def test_links_lead_to_files_and_headings() -> None:
    missing = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", text)):
            path = page.parent / target if target else page
            if target.startswith("http") or (page.name == "index.md" and target in ("gallery/index.rst",)):
                continue
            if not path.exists() or (heading and heading not in headings(path)):
                missing.append(f"{page.relative_to(ROOT)}: {target}#{heading}")
    assert missing == []


def headings(page: Path) -> set[str]:
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_the_citation_is_valid_and_that_of_this_version() -> None:
    yaml = pytest.importorskip("yaml")
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= cited.keys()
    assert all(author.keys() & {"name", "family-names"} for author in cited["authors"])
    assert cited["version"] == config["metadata"]["version"] and cited["license"] == config["metadata"]["license"]
