"""From YAML files and dotted overrides to a checked `Config`; what is wrong is named with its way out."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from driftloop.generators.spec import kinds
from driftloop.loop.settings import Arm, Config
from driftloop.loop.trees import expand_dots, merge, nest

ARM_KEYS = tuple(Arm.model_fields)
FOLDERS = {
    "world": ("driftloop.generators.worlds", "driftloop.worlds"),
    "model": ("driftloop.generators.models", "driftloop.models"),
    "select": ("driftloop.selectors", "driftloop.policies"),
    "retrain": ("driftloop.loop.retrain", "driftloop.retrainers"),
}


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the key, what came, and the way out."""


def load(files: Sequence[Path], overrides: Sequence[str] = ()) -> Config:
    """Compose files from left to right, then `key.path=value` overrides.

    Raises:
        ConfigError: a file is missing or no YAML mapping, a key is unknown, a value does not fit.
    """
    tree: dict[str, Any] = {}
    for file in files:
        tree = merge(tree, read(file))
    return build(merge(tree, dotted(overrides)))


def build(tree: dict[str, Any]) -> Config:
    """Check a composed tree and spread its arms and grid into complete arms."""
    shared = {key: tree[key] for key in ARM_KEYS if key in tree}
    rest = {key: value for key, value in tree.items() if key not in (*ARM_KEYS, "arms", "grid")}
    named = tree.get("arms") or {"default": {}}
    if not isinstance(named, dict) or not all(isinstance(v, dict | None) for v in named.values()):
        raise ConfigError(
            "arms: expected a mapping from arm names to overrides, e.g. arms: {random: {select: {kind: uniform}}}"
        )
    arms = {}
    for (name, changes), cell in itertools.product(named.items(), cells(tree.get("grid") or {})):
        label = ",".join([name, *cell]) if name != "default" or not cell else ",".join(cell)
        arms[label] = merge(merge(shared, expand_dots(changes or {})), dotted(cell))
    try:
        return Config.model_validate({**rest, "arms": arms})
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def read(file: Path) -> dict[str, Any]:
    """One YAML file as a mapping."""
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = difflib.get_close_matches(file.name, [p.name for p in file.parent.glob("*.yaml")], n=1)
        hint = f"; did you mean {file.parent / near[0]}?" if near else "; check the path"
        raise ConfigError(f"no configuration file {file}{hint}") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{file} is not readable YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{file}: expected a mapping of settings at the top level, got {type(tree).__name__}"
        )
    return expand_dots(tree)


def dotted(overrides: Iterable[str]) -> dict[str, Any]:
    """`["loop.keep=5"]` as `{"loop": {"keep": 5}}`; values are YAML."""
    tree: dict[str, Any] = {}
    for override in overrides:
        key, mark, value = override.partition("=")
        if not mark or not key:
            raise ConfigError(f"override {override!r}: expected key.path=value, e.g. loop.generations=10")
        try:
            tree = merge(tree, nest(key, yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise ConfigError(f"override {override!r}: the value is not YAML: {error}") from None
    return tree


def cells(grid: Any) -> list[list[str]]:
    """Every combination of a grid's values, as dotted overrides."""
    if not isinstance(grid, dict) or not all(isinstance(v, list) and v for v in grid.values()):
        raise ConfigError(
            "grid: expected dotted keys with lists of values, e.g. grid: {sampling.temperature: [0.7, 1.0]}"
        )
    axes = [
        [f"{key}={yaml.safe_dump(v, default_flow_style=True).split(chr(10))[0]}" for v in values]
        for key, values in grid.items()
    ]
    return [list(cell) for cell in itertools.product(*axes)]


def explain(error: ValidationError) -> str:
    """Each problem on a line: key, what was expected, what came, the nearest known key."""
    seen: dict[str, None] = {}
    for problem in error.errors():
        seen.setdefault(_line(problem), None)
    return "\n".join(seen)


def _line(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join(_visible(path))
    if problem["type"] == "extra_forbidden":
        known = _known(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{key}: is required and missing; see `driftloop init` for a complete example"
    if problem["type"] == "union_tag_invalid":
        ctx = problem["ctx"]
        near = difflib.get_close_matches(ctx["tag"], ctx["expected_tags"].replace("'", "").split(", "), n=1)
        return f"{key}.kind: there is no {ctx['tag']!r}; expected one of {ctx['expected_tags']}" + (
            f"; did you mean {near[0]!r}?" if near else ""
        )
    if problem["type"] == "union_tag_not_found":
        return f"{key}: the key `kind` is missing; `driftloop list` shows the kinds"
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(problem["input"])
    came = "" if problem["type"] == "value_error" or len(shown) > 80 else f", got {shown}"
    return f"{key}: {message}{came}"


def _visible(path: list[str]) -> list[str]:
    """The path as the user wrote it: without the tags of unions and without an arm's name for shared settings."""
    shown = path[2:] if path[:1] == ["arms"] and len(path) > 2 else path
    return [part for i, part in enumerate(shown) if not _is_tag(shown, i)]


def _is_tag(path: list[str], i: int) -> bool:
    return i > 0 and path[i - 1] in FOLDERS and path[i] in kinds(*FOLDERS[path[i - 1]])


def _known(path: list[str]) -> list[str]:
    """The keys that the settings at `path` take."""
    node: Any = Config
    for i, part in enumerate(path):
        if node is Config and part == "arms":
            continue
        if i == 1 and path[0] == "arms":
            node = Arm
            continue
        node = _member(node, part)
        if node is None:
            return list(ARM_KEYS)
    top = [*ARM_KEYS, "arms", "grid"] if node is Config else []
    return sorted({*getattr(node, "model_fields", {}), *top})


def _member(node: Any, part: str) -> Any:
    if isinstance(node, dict):
        return node.get(part)
    if part in FOLDERS:
        return kinds(*FOLDERS[part])
    field = getattr(node, "model_fields", {}).get(part)
    return field.annotation if field is not None else None


def flat(overrides: Sequence[str]) -> dict[str, Any]:
    """`["loop.keep=5"]` as `{"loop.keep": 5}`: checked like `dotted`, but not nested."""
    dotted(overrides)
    return {
        key: yaml.safe_load(value) for key, _, value in (override.partition("=") for override in overrides)
    }


def parts() -> dict[str, dict[str, str]]:
    """Everything that a configuration can name, by noun, with its first docstring line."""
    from driftloop.evals.stages import measures

    nouns = {
        noun: {name: (part.__doc__ or "").strip().splitlines()[0] for name, part in kinds(*folder).items()}
        for noun, folder in FOLDERS.items()
    }
    return nouns | {"measures": {m.name: f"{m.question} [{m.unit}]" for m in measures()}}


def file_schema() -> dict[str, Any]:
    """JSON schema of a configuration file: a configuration with one arm's settings at the top, arms and grid as overrides."""
    whole = Config.model_json_schema()
    arm = Arm.model_json_schema()
    override = {"type": "object", "additionalProperties": {"type": ["object", "null"]}}
    properties = {**arm["properties"], **whole["properties"], "arms": override, "grid": {"type": "object"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "driftloop configuration",
        "type": "object",
        "properties": properties,
        "required": ["name"],
        "additionalProperties": False,
        "$defs": {**arm["$defs"], **whole["$defs"]},
    }
