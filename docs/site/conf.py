"""Configuration of Sphinx; ``make docs`` runs it on the staged pages, with warnings as errors."""

from importlib.metadata import version as version_of
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

project = "gatewright"
version = release = version_of("gatewright")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # GitHub's way to write an equation
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc states types, with shapes and units
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes that are members have one entry
napoleon_use_param = napoleon_use_rtype = False  # types are prose: no word of a shape is a link
napoleon_custom_sections = [("Members", "params_style")]
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"gatewright {version}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_math_renderer = "mathml"
html_show_sphinx = html_show_copyright = False
html_copy_source = False


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Typeset mathematics as MathML: browsers draw it without a script."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
