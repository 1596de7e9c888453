"""The measures as `evaluate` modules: loaded from a folder, without a network, and equal to our own."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from driftloop.evals.foreign import read_foreign
from driftloop.evals.measured import measure_file

FOLDER = Path(__file__).parents[3] / "evals" / "modules"
TEXTS = [
    f"the {who} sat on the {what}" for who in ("cat", "dog", "cat") for what in ("mat", "hat", "mat", "log")
]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    import evaluate
    from datasets import config

    monkeypatch.setattr(config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return lambda name: evaluate.load(str(FOLDER / name), cache_dir=str(tmp_path))


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir() if path.name != "__pycache__"))
def test_a_module_says_what_our_table_says(name: str, load: Any, tmp_path: Path) -> None:
    pl.DataFrame({"text": TEXTS}).write_parquet(tmp_path / "texts.parquet")
    rows = measure_file(read_foreign(tmp_path / "texts.parquet"))
    ours = dict(rows.select(pl.col("metric").str.strip_prefix("diversity/"), "value").iter_rows())
    theirs = load(name).compute(predictions=TEXTS, embedding_size=128)
    assert theirs["n"] == len(TEXTS)
    values = [key for key in theirs if key in ours]
    assert values
    for key in values:
        assert theirs[key] == pytest.approx(ours[key]), key
        assert not theirs[f"{key}_lo"] > theirs[key], "NaN where twelve texts are too few for an error"


def test_modules_combine_and_refuse_what_cannot_be_measured(load: Any) -> None:
    import evaluate

    both = evaluate.combine([load("hill"), load("vendi")]).compute(predictions=TEXTS)
    assert {"hill1", "vendi1"} <= {key.removeprefix("hill_").removeprefix("vendi_") for key in both}
    with pytest.raises(ValueError, match="--n 99: expected a sample size from 1 to 12"):
        load("hill").compute(predictions=TEXTS, n=99)
