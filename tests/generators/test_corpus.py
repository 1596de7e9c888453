"""World `corpus`: anybody's text, parts that never overlap, proxies, and plain words for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftloop.generators.worlds.corpus import CorpusWorld, meanings

ANIMALS, PLACES = ("cat", "dog", "hen", "fox", "owl", "bee"), ("mat", "log", "pen", "den", "oak", "hive")
SENTENCES = [f"{a} number {i} sat near the {p}" for a in ANIMALS for p in PLACES for i in range(8)]


def world(path: Path | str, **settings: Any) -> CorpusWorld:
    return CorpusWorld(path=str(path), **settings)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(SENTENCES), encoding="utf-8")
    return file


def everything(here: CorpusWorld, *splits: str) -> set[str]:
    return {text for split in splits for text in here.real(20_000, split, seed=0)["response"]}


def saved_to_disk(folder: Path, rows: dict[str, list[str]]) -> Path:
    from datasets import Dataset

    Dataset.from_dict(rows).save_to_disk(folder)
    return folder


def formats(folder: Path) -> dict[str, Path]:
    """The same texts in every form that can be read."""
    table = pl.DataFrame({"text": SENTENCES, "year": range(len(SENTENCES))})
    table.write_parquet(folder / "t.parquet")
    table.write_csv(folder / "t.csv")
    table.write_ndjson(folder / "t.jsonl")
    (folder / "t.txt").write_text("\n%\n".join(SENTENCES), encoding="utf-8")
    (folder / "parts").mkdir()
    (folder / "parts" / "a.txt").write_text("\n%\n".join(SENTENCES[:100]), encoding="utf-8")
    (folder / "parts" / "b.txt").write_text("\n%\n".join(SENTENCES[100:]), encoding="utf-8")
    saved_to_disk(folder / "saved", {"text": SENTENCES})
    return {name: folder / name for name in ("t.parquet", "t.csv", "t.jsonl", "t.txt", "parts", "saved")}


def test_every_format_gives_the_same_world(tmp_path: Path) -> None:
    worlds = [world(path, separator_pattern=r"^%$") for path in formats(tmp_path).values()]
    assert len({one.fingerprint() for one in worlds}) <= 2  # a folder's order of files may differ
    assert len({frozenset(everything(one, "id")) for one in worlds}) == 1


def test_a_list_of_files_is_one_corpus(tmp_path: Path, lines: Path) -> None:
    more = tmp_path / "more.txt"
    more.write_text("\n".join(f"something else entirely {i}" for i in range(60)), encoding="utf-8")
    both = CorpusWorld(path=(str(lines), str(more)))
    assert everything(both, "id", "id/test") > everything(world(lines), "id", "id/test")


def test_a_text_stays_in_its_part_when_others_come_and_go(tmp_path: Path, lines: Path) -> None:
    fewer = tmp_path / "fewer.txt"
    fewer.write_text("\n".join(SENTENCES[::2]), encoding="utf-8")
    whole, half = world(lines), world(fewer)
    assert everything(half, "id") <= everything(whole, "id")
    assert everything(half, "id/test") <= everything(whole, "id/test")


def test_training_never_draws_test_or_reference_texts(lines: Path) -> None:
    here = world(lines)
    trained, tested = everything(here, "id"), everything(here, "id/test")
    assert not trained & tested
    shares = len(trained) / len(SENTENCES), len(tested) / len(SENTENCES)
    assert shares == pytest.approx((0.7, 0.15), abs=0.1)


def test_repeated_texts_count_once(tmp_path: Path) -> None:
    file = tmp_path / "twice.txt"
    file.write_text("\n".join(SENTENCES * 3), encoding="utf-8")
    here = world(file)
    counts = here.real(100_000, seed=0)
    assert counts["response"].is_unique().all()
    expected = 100_000 / counts.height
    assert (counts["count"].cast(pl.Float64) - expected).abs().max() < 6 * np.sqrt(expected)


def test_the_rare_stratum_is_the_least_likely_share(lines: Path) -> None:
    here = world(lines, rare_share=0.1)
    rare, common = everything(here, "ood/rare"), everything(here, "id", "id/test")
    assert not rare & common
    assert len(rare) / (len(rare) + len(common)) == pytest.approx(0.1, abs=0.01)
    nats = here._corpus.model.nats_per_character
    assert nats(sorted(rare)).min() >= nats(sorted(common)).max()


def test_another_corpus_is_ood_without_the_texts_that_both_have(tmp_path: Path, lines: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(
        "\n".join([*SENTENCES[:50], *(f"a wholly other text {i}" for i in range(9))]), encoding="utf-8"
    )
    here = world(lines, ood={"other": str(other)})
    assert here.splits == ("id", "ood/other")
    assert len(everything(here, "ood/other")) == 9


def test_quality_is_the_share_of_less_likely_real_texts(lines: Path) -> None:
    here = world(lines)
    tested = here.real(50_000, "id/test", seed=0).unique("response")
    quality = here.score(tested)["quality"].to_numpy()
    n = len(quality)
    assert np.sort(quality) == pytest.approx(np.arange(n) / n, abs=2 / n)
    texts = pl.DataFrame(
        {"prompt": "", "response": ["cat number 3 sat near the mat", "mat 3 eht raen xqz jjjkw vvv"]}
    )
    good, bad = here.score(texts)["quality"]
    assert good > bad == 0


def test_prompt_and_response_are_read_as_one_text(lines: Path) -> None:
    here = world(lines)
    rows = pl.DataFrame({"prompt": ["", "cat number "], "response": ["cat number 3 sat", "3 sat"]})
    scored = here.score(rows).drop("prompt", "response")
    assert scored.row(0) == scored.row(1)


def test_only_word_for_word_copies_belong_to_a_held_out_split(lines: Path) -> None:
    here = world(lines, rare_share=0.1)
    text = sorted(everything(here, "ood/rare"))[0]
    rows = pl.DataFrame({"prompt": "", "response": [text, f"  {text}\n", text + " again"]})
    assert here.score(rows)["split"].to_list() == ["ood/rare", "ood/rare", "id"]


def test_meaning_is_the_commonest_and_the_rarest_content_word() -> None:
    rank = pl.DataFrame(
        {"word": ["love", "river", "moonlight"], "rank": [0, 1, 2]}, schema_overrides={"rank": pl.UInt32}
    )
    texts = pl.Series(["Moonlight, LOVE and a river", "the river", "zzz", ""])
    assert meanings(texts, rank).rows() == [
        ("love/moonlight", "love"),
        ("river/river", "river"),
        ("-/-", "-"),
        ("-/-", "-"),
    ]


def test_word_order_and_case_do_not_change_the_meaning(lines: Path) -> None:
    here = world(lines, stop_words=0)
    rows = pl.DataFrame({"prompt": "", "response": ["the cat sat near the hive", "HIVE near the sat cat"]})
    scored = here.score(rows)
    assert scored["mode"].n_unique() == scored["strategy"].n_unique() == 1


def test_lengths_bound_what_is_read_and_what_is_valid(lines: Path) -> None:
    here = world(lines, min_chars=10, max_chars=30)
    rows = pl.DataFrame({"prompt": "", "response": ["short", "x" * 10, " " * 40 + "x" * 30, "x" * 31]})
    assert here.score(rows)["valid"].to_list() == [False, True, True, False]
    assert here.max_tokens <= 30


def test_complexity_is_smaller_for_repetition(lines: Path) -> None:
    rows = pl.DataFrame(
        {"prompt": "", "response": ["ab" * 40, "".join(chr(97 + i * i % 26) for i in range(80))]}
    )
    repeated, varied = world(lines).score(rows)["complexity"]
    assert repeated < varied


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        (
            "one.txt",
            b"only this one line is here",
            {},
            "has 1 different texts of 8 to 256 characters, too few to part",
        ),
        ("empty.txt", b"", {}, "has 0 different texts"),
        (
            "latin.txt",
            "caf\u00e9 au lait\n".encode("latin1") * 9,
            {},
            r"not UTF-8 \(byte 3: 0xe9\); convert it.*iconv",
        ),
        (
            "broken.parquet",
            b"not parquet at all",
            {},
            r"cannot be read as parquet .*; repair the file or rename it",
        ),
        ("broken.jsonl", b'{"text": "fine"}\n{"text": ', {}, "cannot be read as json"),
        ("short.txt", b"a\nb\nc\n", {"min_chars": 5}, r"min_chars and max_chars so that more of it counts"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, name: str, content: bytes, settings: dict[str, Any], message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        world(file, **settings).real(3, seed=0)


def test_a_missing_column_is_named_with_those_that_exist(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(
        "".join(json.dumps({"title": t, "body": t, "n": 1}) + "\n" for t in SENTENCES), encoding="utf-8"
    )
    with pytest.raises(
        ValueError, match=r"column is 'text'; its columns are \['title', 'body', 'n'\], text in"
    ):
        world(file, column="text").real(3, seed=0)
    with pytest.raises(ValueError, match=r"none is named; its columns are .* text in \['title', 'body'\]"):
        world(file).real(3, seed=0)
    assert world(file, column="body").real(3, seed=0)["count"].sum() == 3


def test_a_missing_file_says_how_hub_datasets_are_written() -> None:
    with pytest.raises(
        FileNotFoundError, match="'/no/such/file' does not exist; a hub dataset is written 'hub:owner/name'"
    ):
        world("/no/such/file").real(3, seed=0)


def test_a_hub_name_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def offline(name: str) -> None:
        raise ConnectionError(f"Couldn't reach {name!r}")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(ValueError, match=r"'hub:some/name' cannot be loaded \(ConnectionError.*save_to_disk"):
        world("hub:some/name").real(3, seed=0)


def test_a_hub_dataset_gives_its_training_part(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    table = datasets.Dataset.from_dict({"text": SENTENCES})
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": table})
    assert world("hub:some/train").real(3, seed=0)["count"].sum() == 3
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"dev": table})
    with pytest.raises(ValueError, match=r"has the parts \['dev'\]; save the one you mean alone"):
        world("hub:some/dev").real(3, seed=0)


def test_folders_of_no_or_several_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no data file; expected one kind of"):
        world(tmp_path).real(3, seed=0)
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "b.csv").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds files of the kinds \['csv', 'text'\]"):
        world(tmp_path).real(3, seed=0)
    broken = tmp_path / "saved"
    broken.mkdir()
    (broken / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a readable saved dataset"):
        world(broken).real(3, seed=0)


def test_an_ood_corpus_with_nothing_of_its_own_is_refused(lines: Path) -> None:
    with pytest.raises(ValueError, match="split 'ood/same' has no text of its own left"):
        world(lines, ood={"same": str(lines)}).real(3, seed=0)


def test_settings_that_contradict_are_refused(lines: Path) -> None:
    with pytest.raises(ValueError, match="min_chars=9 is above max_chars=3"):
        world(lines, min_chars=9, max_chars=3)
    with pytest.raises(ValueError, match=r"separator_pattern '\(' is no regular expression"):
        world(lines, separator_pattern="(")
    with pytest.raises(ValueError, match="ood has an axis 'rare' and rare_share is set"):
        world(lines, ood={"rare": str(lines)}, rare_share=0.1)


def test_the_fingerprint_follows_the_files_content(tmp_path: Path, lines: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("\n".join(SENTENCES[1:]), encoding="utf-8")
    assert world(lines).fingerprint() != world(other).fingerprint()
