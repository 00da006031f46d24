"""Sphinx's configuration: the repository itself is the source folder, so pages are built from
where they are, and a link that works in a checkout works on the site too. `make docs` builds it.

Why not Zensical (0.0.73): its pages must lie in one folder, all of which is copied to the site, and
`--strict` does not count what goes wrong in docstrings.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from fairdraft import __version__  # noqa: E402
from scripts.markdown import pages  # noqa: E402

project = "fairdraft"
author = "the fairdraft authors"
version = release = __version__
copyright = "the fairdraft authors; Apache-2.0"  # noqa: A001

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "scripts.docs_site"]
root_doc = "README"  # `scripts.docs_site` copies it to index.html
include_patterns = [str(path.relative_to(ROOT)) for path in pages()]
# Folders that hold no page are not searched for any.
_NEEDED = {path.relative_to(ROOT).parts[0] for path in pages()}
exclude_patterns = [
    *(path.name for path in ROOT.iterdir() if path.name not in _NEEDED),
    "docs/_build",
]

myst_heading_anchors = 4
myst_url_schemes = ["http", "https", "mailto", "site"]  # the last is made by `scripts.docs_site`

suppress_warnings: list[str] = []  # none: every warning is an error

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
add_module_names = False

smartquotes = False  # options keep their two hyphens
highlight_language = "none"  # blocks that name no language: commands and what they print
html_theme = "furo"
html_title = "fairdraft"
html_static_path = ["live"]
html_css_files = ["live.css"]
html_copy_source = False
html_show_sphinx = False
html_domain_indices = True
html_use_index = True
html_theme_options = {"top_of_page_buttons": []}
