"""Pages that hold all that they show: their templates, and the library that turns surfaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

SHARED = Path(__file__).parent / "templates"


def environment(folder: Path) -> jinja2.Environment:
    """Templates of a folder, and those that all pages share; what they print is escaped, and what they lack fails.

    Args:
        folder: Of the page's own templates; they go before shared ones of the same name.
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def turning_library() -> str:
    """What turns surfaces, plotly.js of the Python package, safe inside a script element."""
    from importlib.resources import files

    text = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
