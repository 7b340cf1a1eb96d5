"""Builds the documentation: bash scripts/docs.sh."""

import shutil
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402

import tfstyle  # noqa: E402
from tfstyle.feedforward import layers  # noqa: E402

project, author, copyright = "tfstyle", "the tfstyle authors", "the tfstyle authors"
release = version = tfstyle.__version__

layers.InstanceNormalization.__name__ = "InstanceNormalization"  # Which is spelled otherwise for its files.

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["static"]
html_theme = "furo"
html_title = f"tfstyle {release}"
html_static_path = ["static"]
html_css_files = ["tfstyle.css"]

default_role = "py:obj"  # `name` is a link where it is the name of something, and code elsewhere.
add_module_names = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
napoleon_google_docstring, napoleon_numpy_docstring, napoleon_use_ivar = True, False, True
napoleon_custom_sections = [("Differs from the paper", "notes")]
python_maximum_signature_line_length = 100

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"
html_math_renderer = "mathml"

LONGEST_VALUE = 60
"""Length of the value of a constant in the reference, in characters, at most."""


def visit_math(translator, node):
    """Writes a formula as MathML, which browsers draw without a script from elsewhere."""
    block = isinstance(node, nodes.math_block)
    translator.body.append(tex2mathml(node.astext().strip(), as_block=block))
    raise nodes.SkipNode


def hide_long_value(app, domain, kind, content):
    """Removes the value of a constant that is a table, or a folder of this machine."""
    for signature in content.parent.findall(addnodes.desc_signature):
        for value in list(signature.findall(addnodes.desc_annotation)):
            text = value.astext().strip()
            if text.startswith("=") and (len(text) > LONGEST_VALUE or "Path(" in text):
                value.parent.remove(value)


def link_notebooks(app, name, source):
    """Lets links to the notebooks, which are beside this folder in the repository, lead to their pages."""
    source[0] = source[0].replace("](../notebooks/", "](notebooks/")


def setup(app):
    """Makes the generated pages, and takes the notebooks over."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math, None))
    shutil.copytree(
        ROOT / "notebooks", DOCS / "notebooks", dirs_exist_ok=True, ignore=lambda *_: {".ipynb_checkpoints"}
    )
    generate.write_pages(DOCS)
    app.connect("source-read", link_notebooks)
    app.connect("object-description-transform", hide_long_value)
