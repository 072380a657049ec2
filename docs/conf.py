"""The documentation site: Sphinx, as OpenMMLab's own sites are, with MyST for Markdown and Furo's theme."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import al_rotate  # noqa: E402  # from this folder, whatever else is installed

project = "al_rotate"
version = release = al_rotate.__version__
copyright = "the authors of al_rotate, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_argparse_cli"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"al_rotate {version}"
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # as GitHub has them
default_role = "py:obj"  # single backticks in docstrings
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("ArrayLike", "NDArray", "Picker", "Scorer")}  # else all they stand for
napoleon_use_rtype = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

_ROOT_PAGES = {"architecture": "ARCHITECTURE.md", "changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
_SITE_PAGES = {name: f"{page}.md" for page, name in _ROOT_PAGES.items()}
_ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
_ARRAY = re.compile(
    r"~?[\w.]*ndarray\[~?[\w.]*tuple\[~?[\w.]+, \.\.\.\], ~?[\w.]*dtype\[~?(?:\w+\.)*(\w+)(?:\[~?[\w.]+\])?\]\]"
)
_LINK = re.compile(r"(?<=\]\()(?P<up>\.\./|docs/)?(?P<path>[\w./-]+)")


def _read_source(app, page, source):
    """Take the pages that stand at the repository's root from there, and point links at pages of the site."""
    at_root = page in _ROOT_PAGES
    text = (ROOT / _ROOT_PAGES[page]).read_text(encoding="utf-8") if at_root else source[0]

    def target(match):
        up, path = match["up"] or "", match["path"]
        if up == "docs/" and at_root:
            return path
        if path in _SITE_PAGES and (up == "../" or (at_root and not up)):
            return _SITE_PAGES[path]
        if up == "docs/" or path.startswith("docs/") or not (ROOT / path).is_file():
            return match[0]
        is_picture = path.endswith((".jpg", ".png"))
        return f"../{path}" if is_picture else f"path:../{path}"  # to download: it is no page of the site

    source[0] = _LINK.sub(target, text)


def _read_signature(app, what, name, obj, options, signature, returns):
    """Write types by the names that the code has for them, also where they are one of several types."""
    return tuple(part and _ARRAY.sub(r"NDArray[\1]", _ALIAS.sub(r"\1", part)) for part in (signature, returns))


def _read_docstring(app, what, name, obj, options, lines):
    """Keep a property's sentence whole: Napoleon would take what is before a colon for its type."""
    if what in ("property", "attribute") and lines:
        lines[0] = lines[0].replace(": ", " \N{EN DASH} ")


def setup(app):
    app.connect("source-read", _read_source)
    app.connect("autodoc-process-signature", _read_signature)
    app.connect("autodoc-process-docstring", _read_docstring, priority=400)  # before Napoleon's 500
