"""From a chart to one self-contained SVG: no script, no font file, no network; it scales with the page."""

from __future__ import annotations

import re
from typing import Any

from driftloop.evals.report.palette import INK, MUTED, PAPER, RULE, properties

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_ATTRIBUTE = re.compile(r'(fill|stroke)="(#[0-9a-f]{6})"')
_EMPTY = re.compile(r'<path class="(?:back|fore)ground"[^>]*/>')
_SIZE = re.compile(r'(<svg[^>]*?) width="([0-9.]+)" height="([0-9.]+)"')


def theme() -> dict[str, Any]:
    """Vega-Lite configuration of every chart."""
    axis = {
        "labelColor": MUTED, "titleColor": MUTED, "gridColor": RULE, "domainColor": RULE, "tickColor": RULE,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
        "labelFont": FONT, "titleFont": FONT,
        "labelAngle": 0, "tickSize": 4, "gridWidth": 1, "labelFlush": False, "titlePadding": 8,
    }  # fmt: skip
    return {
        "axis": axis,
        "view": {"stroke": None},
        "background": "transparent",
        "text": {"font": FONT, "fontSize": 12, "color": INK},
        "mark": {"aria": False},
    }


def render(layers: list[Any], width: float, height: float) -> str:
    """The SVG of altair layers in the light colours, scalable, without a background."""
    import altair as alt
    import vl_convert

    spec = alt.layer(*layers, width=width, height=height).to_dict(validate=False)
    spec["config"] = theme()
    text: str = vl_convert.vegalite_to_svg(spec)
    text = _EMPTY.sub("", text)
    text = text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace(' aria-hidden="true"', "")
    return _SIZE.sub(r'\1 style="max-width:\2px"', text, count=1)


def themed(svg: str) -> str:
    """The SVG with colours as custom properties of the page, so that it follows light and dark."""
    known = {light: name for name, (light, _) in properties().items()}
    return _ATTRIBUTE.sub(
        lambda m: f'{m[1]}="var(--{known[m[2]]})"' if m[2] in known else m[0],
        svg,
    )


def standalone(svg: str) -> str:
    """The SVG as a file of its own: on paper, so that it can be read on a page of any colour."""
    head, _, rest = svg.partition(">")
    return f'{head}><rect width="100%" height="100%" fill="{PAPER}"/>{rest}'
