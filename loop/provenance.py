"""What is needed to make a result again: versions, hardware, parameters, seeds, hashes of inputs, the command."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from driftloop.loop.settings import Config

PACKAGES = (
    "torch",
    "numpy",
    "polars",
    "ray",
    "numba",
    "tokenizers",
    "datasets",
    "reasoning-gym",
    "transformers",
    "vllm",
)


def provenance(config: Config, command: list[str]) -> dict[str, Any]:
    """The record of a run: complete enough to run it again."""
    settings = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return {
        "schema": 1,
        "driftloop": version("driftloop"),
        "command": command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config_sha256": hashlib.sha256(settings.encode()).hexdigest(),
        "seeds": list(config.seeds),
        "inputs": inputs(config),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
        "hardware": {
            "machine": platform.machine(),
            "system": platform.platform(),
            "cpu": cpu(),
            "cores": os.cpu_count(),
        },
    }


def installed(package: str) -> str | None:
    """A package's version, or None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def inputs(config: Config) -> dict[str, str]:
    """SHA-256 of every file that a world reads, by its path."""
    worlds = [arm.world.model_dump(mode="json") for arm in config.arms.values()]
    named = {str(value) for world in worlds for key, value in world.items() if key.endswith("path") and value}
    return {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest()
        for name in sorted(named)
        if Path(name).is_file()
    }
