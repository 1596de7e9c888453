"""What was run: settings that all arms share and settings that differ."""

from __future__ import annotations

from typing import Any

from driftloop.evals.report.records import Run

# What every table of arms names: the configuration's key by its label.
NAMED = {
    "selection": "select.kind",
    "regime": "loop.regime",
    "start model": "loop.start",
    "real share": "loop.real_fraction",
    "OOD firewall": "loop.firewall",
}
UNKNOWN = "not recorded"


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys with values as text."""
    if isinstance(value, dict) and value:
        pairs = [flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
        return {key: text for pair in pairs for key, text in pair.items()}
    return {prefix: _text(value)}


def of_arm(run: Run, arm: str) -> dict[str, str]:
    """Every setting of one arm as dotted keys; empty where the configuration does not name the arm."""
    arms = run.config.get("arms")
    own = arms.get(arm) if isinstance(arms, dict) else None
    return flat(own) if isinstance(own, dict) and own else {}


def differing(run: Run) -> dict[str, dict[str, str]]:
    """Key -> arm -> value, for the settings that are not the same in all arms."""
    return {key: row for key, row in _by_key(run).items() if len(set(row.values())) > 1}


def shared(run: Run) -> dict[str, str]:
    """The settings that all arms share, and those of the run as a whole, as dotted keys."""
    whole = flat({k: v for k, v in run.config.items() if k != "arms"}) if run.config.keys() - {"arms"} else {}
    same = {key: next(iter(row.values())) for key, row in _by_key(run).items() if len(set(row.values())) == 1}
    return whole | same


def named(run: Run, arm: str) -> dict[str, str]:
    """Selection, regime, start model, share of real data and firewall of one arm."""
    known = of_arm(run, arm)
    plain = {label: known.get(key, UNKNOWN) for label, key in NAMED.items()}
    return {label: {"true": "on", "false": "off"}.get(value, value) for label, value in plain.items()}


def brief(run: Run, arm: str) -> str:
    """Regime and start model in a few words, for the tables that compare arms."""
    known = named(run, arm)
    return f"{known['regime']}, {known['start model']}"


def _by_key(run: Run) -> dict[str, dict[str, str]]:
    known = {arm: of_arm(run, arm) for arm in run.arms}
    keys = dict.fromkeys(key for settings in known.values() for key in settings)
    return {key: {arm: known[arm].get(key, "–") for arm in run.arms} for key in keys}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
