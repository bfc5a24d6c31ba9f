"""Builds the site of the documentation: `make docs`, from the root of the repository.

The source folder is the repository, not docs/, so that pages link to README.md and results/ as they do on a Git host.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's notes about the machine

project = "lth_keras"
author = "The lth_keras authors"
copyright = author
release = installed_version(project)
root_doc = "docs/index"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
include_patterns = ["*.md", "docs/**", "results/**.md"]
exclude_patterns = [".*", "runs", "docs/_build", "docs/_templates", "examples", "docs/gallery/*.ipynb"]
templates_path = ["_templates"]

# Markdown
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tests/docs runs the pages' code

# The API, from docstrings
default_role = "code"  # docstrings write code as Markdown does
autosummary_generate = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # else attributes are described twice

# The gallery
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "docs/gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "abort_on_example_error": True,
    "remove_config_comments": True,
}

# The pages
html_theme = "pydata_sphinx_theme"
html_title = "lth_keras"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "lth_keras"},
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}


def links_of_the_site(app: Any, name: str, source: list[str]) -> None:
    """Links an example's file to its page in the gallery, and a folder to its README, where it has one."""
    folder = Path(app.env.doc2path(name)).parent

    def shown(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = folder / target
        if path.resolve().parent == ROOT / "examples":
            return f"[{text}](gallery/{path.stem}.rst)"
        if path.is_dir():
            return f"[{text}]({target.rstrip('/')}/README.md)" if (path / "README.md").is_file() else text
        return link[0]

    source[0] = re.sub(r"\[([^][]+)\]\(([^)\s#:]+)\)", shown, source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", links_of_the_site)
