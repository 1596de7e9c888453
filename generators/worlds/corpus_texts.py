"""Texts from files, folders, saved datasets and the hub; what can be wrong with them is said plainly."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

BUILDERS = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet", ".csv": "csv"}
SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")
HUB = "hub:"


def read(path: str, column: str | None, separator_pattern: str | None) -> list[str]:
    """All texts under `path` in their order, before any filter.

    Args:
        path: a JSONL, parquet, CSV or text file, a folder of one of these kinds, a dataset saved to disk, or
            `hub:owner/name` (the only spelling that uses a network).
        column: of a table; None = its only text column.
        separator_pattern: regular expression between the texts of a text file; None = one text per line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read as what its name says, or the column is missing.
    """
    if path.startswith(HUB):
        return _column(_hub(path.removeprefix(HUB)), column, path)
    place = Path(path).expanduser()
    if not place.exists():
        raise FileNotFoundError(
            f"corpus path {path!r} does not exist; a hub dataset is written 'hub:owner/name'"
        )
    if place.is_dir() and any((place / name).exists() for name in SAVED):
        return _column(_saved(place), column, path)
    files = _files(place)
    if files[0].suffix in BUILDERS:
        return _column(_table(files, BUILDERS[files[0].suffix]), column, path)
    return [text for file in files for text in _pieces(file, separator_pattern)]


def _files(place: Path) -> list[Path]:
    """The file, or the files of a folder, which must be of one kind."""
    if place.is_file():
        return [place]
    files = sorted(f for f in place.rglob("*") if f.suffix in {*BUILDERS, ".txt"})
    kinds = {BUILDERS.get(f.suffix, "text") for f in files}
    if len(kinds) != 1:
        found = f"files of the kinds {sorted(kinds)}" if kinds else "no data file"
        expected = ", ".join([*BUILDERS, ".txt"])
        raise ValueError(f"corpus folder {str(place)!r} holds {found}; expected one kind of: {expected}")
    return files


def _pieces(file: Path, separator_pattern: str | None) -> list[str]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus file {str(file)!r} is not UTF-8 (byte {error.start}: {error.object[error.start]:#04x}); "
            "convert it, for example with: iconv -f latin1 -t utf-8"
        ) from error
    return re.split(separator_pattern or r"\r?\n", text, flags=re.MULTILINE)


def _table(files: list[Path], builder: str) -> Any:
    from datasets import load_dataset

    names = [str(file) for file in files]
    with tempfile.TemporaryDirectory() as scratch:  # the library's own cache would outlive a change of files
        try:
            return load_dataset(
                builder, data_files=names, split="train", cache_dir=scratch, keep_in_memory=True
            )
        except Exception as error:  # the library wraps whatever its parsers raise
            cause = error.__cause__ or error
            raise ValueError(
                f"corpus {names} cannot be read as {builder} ({type(cause).__name__}: {cause}); "
                "repair the file or rename it to what it is"
            ) from error


def _saved(place: Path) -> Any:
    from datasets import load_from_disk

    try:
        return load_from_disk(str(place))
    except Exception as error:  # the library raises whatever Arrow does
        raise ValueError(f"corpus folder {str(place)!r} is not a readable saved dataset: {error}") from error


def _hub(name: str) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(name)
    except Exception as error:  # no network, no such name, no permission: the library's words say which
        raise ValueError(
            f"corpus 'hub:{name}' cannot be loaded ({type(error).__name__}: {error}); check the name and the "
            "network, or save the dataset where there is one (save_to_disk) and give its folder"
        ) from error


def _column(table: Any, column: str | None, path: str) -> list[str]:
    """One text column of a dataset, or of the part `train` of several."""
    if isinstance(table, dict):
        if "train" not in table:
            raise ValueError(f"corpus {path!r} has the parts {sorted(table)}; save the one you mean alone")
        table = table["train"]
    kinds = {name: getattr(kind, "dtype", "") for name, kind in table.features.items()}
    textual = [name for name, kind in kinds.items() if kind in ("string", "large_string")]
    if column is None and len(textual) == 1:
        column = textual[0]
    if column not in textual:
        got = "none is named" if column is None else f"column is {column!r}"
        raise ValueError(f"corpus {path!r}: {got}; its columns are {list(kinds)}, text in {textual}")
    return [text for text in table[column] if text is not None]
