"""The report as one HTML file: no script, no network, readable from a disk."""

from __future__ import annotations

from pathlib import Path

from driftloop.evals.report.contents import Contents
from driftloop.evals.report.palette import SHAPES, properties
from driftloop.evals.report.svg import themed

HERE = Path(__file__).parent


def page(report: Contents, arms: tuple[str, ...]) -> str:
    """The HTML text; everything that came from records is escaped."""
    return rendered("page.html.j2", arms, r=report)


def rendered(template: str, arms: tuple[str, ...], **contents: object) -> str:
    """A page of this folder with its style, one colour and shape per arm; all contents are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    jinja = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["svg"] = lambda text: Markup(themed(text))  # vl-convert escapes
    swatch = {arm: f"a{i % 8}" for i, arm in enumerate(arms)}
    marks = {arm: _mark(i) for i, arm in enumerate(arms)}
    style = Markup(_variables() + (HERE / "style.css").read_text())
    return jinja.get_template(template).render(arms=arms, swatch=swatch, marks=marks, style=style, **contents)


def _variables() -> str:
    """Colours as custom properties: light, dark, and light again on paper."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in properties().items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in properties().items())
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _mark(number: int) -> str:
    """The path of an arm's point shape, centred at (0, 0)."""
    return {
        "circle": "M4,0A4,4,0,1,1,-4,0A4,4,0,1,1,4,0Z",
        "square": "M-3.6,-3.6h7.2v7.2h-7.2Z",
        "triangle-up": "M0,-4.4L4.4,3.6H-4.4Z",
        "diamond": "M0,-5L4,0L0,5L-4,0Z",
        "cross": "M-4,-1.4H-1.4V-4H1.4V-1.4H4V1.4H1.4V4H-1.4V1.4H-4Z",
        "triangle-down": "M0,4.4L4.4,-3.6H-4.4Z",
        "triangle-right": "M4.4,0L-3.6,4.4V-4.4Z",
        "triangle-left": "M-4.4,0L3.6,4.4V-4.4Z",
    }[SHAPES[number % len(SHAPES)]]
