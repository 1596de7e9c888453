"""What every configurable part is: a frozen pydantic model that carries its own settings and its own code."""

from __future__ import annotations

import importlib
import json
import operator
import pkgutil
from functools import cache, reduce
from importlib.metadata import entry_points
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Spec(BaseModel):
    """A part of a configuration: unknown keys are refused, values never change, its JSON is its identity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def identity(self) -> str:
        """Canonical JSON of all settings: two parts with one identity behave alike."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    def fingerprint(self) -> str:
        """A hash of what the part reads besides its settings, such as files; "" where there is nothing."""
        return ""


@cache
def kinds(package: str, group: str) -> dict[str, type[Spec]]:
    """Every part of one noun by its `kind`: one class per file of `package`, then entry points of `group`.

    Raises:
        ValueError: two parts claim one `kind`.
    """
    folder = importlib.import_module(package)
    modules = sorted(m.name for m in pkgutil.iter_modules(folder.__path__))
    ours = [part for name in modules for part in _parts(importlib.import_module(f"{package}.{name}"))]
    theirs = [point.load() for point in entry_points(group=group)]
    found: dict[str, type[Spec]] = {}
    for part in [*ours, *theirs]:
        kind = part.model_fields["kind"].default
        if found.setdefault(kind, part) is not part:
            raise ValueError(f"{group}: two parts are called {kind!r}: {found[kind]} and {part}; rename one")
    return found


def _parts(module: Any) -> list[type[Spec]]:
    """The classes that a module defines (not those it imports) and that have a `kind`."""
    own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    return [v for v in own if issubclass(v, Spec) and "kind" in v.model_fields]


def union(package: str, group: str) -> Any:
    """The pydantic type `one of these kinds`, told apart by the key `kind`."""
    classes = list(kinds(package, group).values())
    either: Any = reduce(operator.or_, classes)
    return either if len(classes) == 1 else Annotated[either, Field(discriminator="kind")]
