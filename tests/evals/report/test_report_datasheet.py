"""The page of a measured file: complete, offline, escaped."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftloop.evals.foreign import Columns
from driftloop.evals.measured import Found, measure_files
from driftloop.evals.report.datasheet import sheet, write_page


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    for name, modes in (("a<b>.parquet", 20), ("plain.parquet", 40)):
        texts = [f"the cat {i}" + " more" * (i % 3) for i in draw.integers(0, modes, 300)]
        frame = pl.DataFrame({"text": texts, "q": draw.integers(0, 2, 300)})
        frame.write_parquet(folder / name)
    files = (folder / "a<b>.parquet", folder / "plain.parquet")
    return measure_files(*files, Columns(quality="q"), embedding_size=16)


def test_the_page_holds_every_measure_and_needs_no_network(compared: Found, tmp_path: Path) -> None:
    write_page(tmp_path / "sheet.html", compared)
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "a&lt;b&gt;.parquet" in text
    assert "<b>.parquet" not in text
    assert text.count("<figure") == len(sheet(compared).figures) == 7


def test_every_row_stands_in_one_table(compared: Found) -> None:
    told = sheet(compared)
    assert sum(len(table.rows) for table in told.tables) == compared.rows.height
    assert all(len(row) == len(table.header) for table in told.tables for row in table.rows)
    assert len(told.glossary) == compared.rows.height
    assert told.title == "a<b>.parquet against plain.parquet"
    assert any("paraphrase" in caution for caution in told.cautions)


def test_one_file_without_quality_has_fewer_pictures_and_says_so(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["one and the same"] * 5}).write_parquet(tmp_path / "a.parquet")
    told = sheet(measure_files(tmp_path / "a.parquet", embedding_size=16))
    assert [figure.name for figure in told.figures] == [
        "abundance",
        "growth0",
        "growth1",
        "growth2",
        "n_tokens",
    ]
    assert any("Quality is not known" in caution for caution in told.cautions)
    assert "reference" not in told.tables[0].header
