"""The table of anybody's data: sample sizes, reasons for what is missing, differences from a reference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftloop.evals.estimate import Context, Estimate
from driftloop.evals.foreign import Columns, read_foreign
from driftloop.evals.measured import difference, measure_file, measure_files, sample_size


def drawn(folder: Path, name: str, modes: int, n: int, seed: int) -> Path:
    draw = np.random.default_rng(seed).integers(0, modes, n)
    pl.DataFrame({"text": [f"the cat {i}" for i in draw]}).write_parquet(folder / name)
    return folder / name


def test_n_beyond_the_data_is_refused(tmp_path: Path) -> None:
    samples = read_foreign(drawn(tmp_path, "a.parquet", 5, 40, 0))
    with pytest.raises(
        ValueError, match="--n 41: expected a sample size from 1 to 40, the copies in the file"
    ):
        sample_size(41, samples)
    with pytest.raises(ValueError, match="--n 0"):
        sample_size(0, samples)
    with pytest.raises(ValueError, match="from 1 to 10, the copies in the smaller file"):
        sample_size(11, samples, samples.head(10))


def test_zero_valid_samples_give_nan_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"text": ["a", "b", "c"], "ok": [0, 0, 0], "q": [0.0, 0.0, 0.0]}).write_parquet(file)
    rows = measure_file(read_foreign(file, Columns(valid="ok", quality="q")))
    by_name = {row["metric"]: row for row in rows.iter_rows(named=True)}
    assert by_name["quality/valid_share"]["value"] == 0
    for name in ("diversity/hill1", "complexity/structural_mean", "diversity/hill1_passing"):
        assert np.isnan(by_name[name]["value"])
        assert by_name[name]["note"] == "no sample qualifies"
    assert (rows.filter(pl.col("value").is_nan())["note"] != "").all()


def test_what_the_columns_cannot_answer_is_left_out(tmp_path: Path) -> None:
    names = measure_file(read_foreign(drawn(tmp_path, "a.parquet", 5, 40, 0)))["metric"].to_list()
    assert "diversity/hill1" in names
    for name in ("quality/mean", "quality/valid_share", "diversity/effective_v2u", "diversity/strategy_hill1",
                 "concentration/token_entropy", "diversity/distinct_per_prompt"):  # fmt: skip
        assert name not in names


def test_a_reference_of_another_size_is_compared_at_the_smaller_one(tmp_path: Path) -> None:
    seen: list[float] = []
    file, reference = drawn(tmp_path, "a.parquet", 40, 600, 1), drawn(tmp_path, "b.parquet", 60, 900, 2)
    found = measure_files(file, reference, embedding_size=16, watch=lambda what, share: seen.append(share))
    rows = {row["metric"]: row for row in found.rows.iter_rows(named=True)}
    hill = rows["diversity/hill1"]
    assert found.context.n == 600
    assert hill["difference"] == pytest.approx(hill["value"] - hill["reference"])
    assert hill["difference_hi"] < 0, "40 modes are fewer than 60"
    assert seen == sorted(seen)
    assert 0 <= seen[0] < seen[-1] < 1


def test_two_draws_of_one_source_rarely_differ(tmp_path: Path) -> None:
    """At 95 % about one interval in twenty leaves 0 out; a third of them would be a fault."""
    found = measure_files(
        drawn(tmp_path, "a.parquet", 50, 500, 3), drawn(tmp_path, "b.parquet", 50, 500, 4), embedding_size=16
    )
    known = found.rows.filter(pl.col("difference_stderr") > 0)
    outside = (known["difference_lo"] > 0) | (known["difference_hi"] < 0)
    assert outside.mean() < 1 / 3  # type: ignore[operator]


def test_the_interval_of_a_difference_keeps_leaning() -> None:
    leaning = Estimate(10.0, 2.0, 9.0, 16.0, 5)
    flat = Estimate.normal(4.0, 0.0, 5)
    assert difference(leaning, flat) == Estimate(6.0, 2.0, 5.0, 12.0, 5)
    assert difference(flat, leaning)[2:4] == (-12.0, -5.0)
    a, b = Estimate.normal(1.0, 0.3, 9), Estimate.normal(2.0, 0.4, 9)
    assert difference(a, b).hi == pytest.approx(Estimate.normal(-1.0, 0.5, 9).hi)


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = drawn(tmp_path, "a.parquet", 5, 40, 0)
    monkeypatch.setattr("driftloop.evals.embedding.MINILM", "no_such_encoder")
    with pytest.raises(ImportError, match=r"pip install 'driftloop\[embed\]', or use --embed hash"):
        measure_files(file, embedding="minilm")
    with pytest.raises(ValueError, match="--embed nowhere: expected hash, minilm, or a folder"):
        measure_files(file, embedding="nowhere")
    with pytest.raises(ValueError, match="--embedding-size 2"):
        measure_files(file, embedding_size=2)


def test_an_encoder_folder_embeds_texts(tmp_path: Path, scored: Callable[..., pl.DataFrame]) -> None:
    """A tiny encoder with random weights, in the layout that sentence encoders are published in."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from driftloop.evals.embedding import encode
    from driftloop.evals.vendi import MEASURES

    words = ["[PAD]", "[UNK]", "the", "cat", "dog"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        tmp_path
    )
    config = BertConfig(
        vocab_size=5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    BertModel(config).save_pretrained(tmp_path)

    vectors = encode(pl.Series(["the cat", "the dog", "the cat", "the cat the dog the cat"]), str(tmp_path))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-5)
    vendi = next(m for m in MEASURES if m.name == "diversity/vendi1")
    context = Context(10, 0, embedding=str(tmp_path))
    assert vendi.compute(scored(["the cat"] * 4), context).value == pytest.approx(1)
    assert 1 < vendi.compute(scored(["the cat", "the dog"] * 2), context).value <= 2
