"""Colours of the whole page: one per arm (after Okabe and Ito, for colour-blind readers), tones for phases.

Charts are drawn in the light colours; the page swaps each for a custom property, so that one picture serves
light and dark.
"""

from __future__ import annotations

ARMS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b38600", "#56b4e9", "#7a5195", "#4d4d4d")
ARMS_DARK = ("#4fa8e0", "#f08a3c", "#2cc79b", "#e29cc4", "#e6b422", "#8fd0f5", "#b294cf", "#b8b8b8")
ARM_NAMES = ("blue", "vermilion", "green", "pink", "ochre", "sky blue", "purple", "grey")
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
PHASES = {"sampling": "#b4bcc6", "selection": "#3c4a5c", "retraining": "#7c8a9c", "mixing": "#d9dee5"}
PHASES_DARK = {"sampling": "#566273", "selection": "#c4cfdd", "retraining": "#8594a8", "mixing": "#39424f"}

INK, MUTED, RULE, PAPER = "#1d2430", "#5b6675", "#dfe4ea", "#fefefe"
INK_DARK, MUTED_DARK, RULE_DARK, PAPER_DARK = "#e8ecf2", "#a3adba", "#313945", "#171b22"


def arm_colours(arms: tuple[str, ...]) -> dict[str, str]:
    """One colour per arm, in the order of the run; after eight arms they repeat."""
    return {arm: ARMS[i % len(ARMS)] for i, arm in enumerate(arms)}


def arm_shapes(arms: tuple[str, ...]) -> dict[str, str]:
    """One point shape per arm."""
    return {arm: SHAPES[i % len(SHAPES)] for i, arm in enumerate(arms)}


def properties() -> dict[str, tuple[str, str]]:
    """Custom property -> (light, dark)."""
    plain = {
        "ink": (INK, INK_DARK),
        "muted": (MUTED, MUTED_DARK),
        "rule": (RULE, RULE_DARK),
        "paper": (PAPER, PAPER_DARK),
    }
    arms = {f"arm-{i}": pair for i, pair in enumerate(zip(ARMS, ARMS_DARK, strict=True))}
    phases = {f"phase-{name}": (light, PHASES_DARK[name]) for name, light in PHASES.items()}
    return plain | arms | phases
