"""Settings as nested mappings: dotted keys, and one layer over another."""

from __future__ import annotations

import copy
from typing import Any


def nest(key: str, value: Any) -> dict[str, Any]:
    """`("a.b", 1)` as `{"a": {"b": 1}}`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def expand_dots(tree: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys inside files mean the same as on the command line (grid and arm names stay as they are)."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        result = merge(result, nest(key, value) if isinstance(key, str) and "." in key else {key: value})
    return result


def merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """`high` over `low`; where `kind` changes, the settings of the old kind go."""
    if "kind" in high and "kind" in low and high["kind"] != low["kind"]:
        return copy.deepcopy(high)
    result = copy.deepcopy(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both else copy.deepcopy(value)
    return result
