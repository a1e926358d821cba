"""How Sphinx builds the site from this folder; CONTRIBUTING.md has the command."""

from __future__ import annotations

from seewhy.version import __version__

project = "seewhy"
author = "The seewhy authors"
copyright = author
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
nitpicky = True  # a reference to something that is not there fails the build

smartquotes = False  # `--arch` in a table stays two hyphens

# Pages are Markdown, and a heading is linked to by its words, as on GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

# The tutorial has no outputs in the repository: the build runs it, and a cell that fails fails it.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

# In the docstrings, single backticks are code, as in Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# What other libraries' pages hold; the build looks nothing up elsewhere.
nitpick_ignore = [("py:class", "seewhy.comparison.Truth")]  # a name for a union of types
nitpick_ignore_regex = [(r"py:.*", r"(torch|numpy|np|PIL|matplotlib|collections|pathlib|nn)\b.*")]

html_static_path = ["_static"]
html_css_files = ["seewhy.css"]
html_theme = "pydata_sphinx_theme"
html_title = f"seewhy {release}"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "seewhy"},
    "github_url": "https://github.com/seewhy-dev/seewhy",
    "navbar_align": "left",
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
