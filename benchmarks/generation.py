"""Generation speed: ours, Hugging Face's generate at its best batch, plain torch, the machine's GEMM ceiling.

    python benchmarks/generation.py [--rounds 5] [--quick]

All in one process on one thread, warmed, in alternating rounds; CPU seconds, so that other load on the machine
disturbs little; medians. Ratios are of speeds: above 1 ours is faster. Prints Markdown.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from driftloop.generators.contracts import Sampling
from driftloop.generators.engines import dense, prefix_score, tile, trie
from driftloop.generators.models import tokens
from driftloop.generators.models.llama import Llama, Shape
from driftloop.generators.models.transformer import TinyTransformer, Transformer
from driftloop.generators.worlds.targets import Targets
from driftloop.loop.retrain.supervised import Supervised

LETTERS = "".join(chr(ord("!") + i) for i in range(61))  # 64 tokens with the marks
NEVER = 10**6  # a stop token that no model has
SIZES = {
    "0.22M": (Shape(64, 64, 4, 4, 4, 192, context=64), 2.5, 0.45),
    "0.96M": (Shape(64, 128, 4, 4, 4, 448, context=64), 1.8, 0.55),
}


def main() -> None:
    """Print every table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="a smoke run: the figures mean nothing")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rounds = 1 if asked.quick else asked.rounds
    print(f"torch {torch.__version__}, one thread, median CPU time of {rounds} alternating rounds\n")
    every_row_its_own(rounds, asked.quick)
    model = quickstart(20 if asked.quick else 1500)
    many_per_prompt(model, rounds, asked.quick)
    a_million(rounds, asked.quick)
    high_entropy(rounds, asked.quick)
    scores(model, rounds)


def every_row_its_own(rounds: int, quick: bool) -> None:
    """32 tokens from the begin mark, no row stops, random weights."""
    print("## 32 tokens, vocabulary 64, every row its own\n")
    print("| parameters | contender | tokens/s | of the GEMM ceiling | ours / its | target |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = 32 if quick else 1024
    for name, (shape, ratio, share) in SIZES.items():
        model = fresh(shape)
        peer = Peer(model, [np.array([1])], 32, stop=None, quick=quick)
        contenders: dict[str, Callable[[], int]] = {
            "driftloop": partial(drawn, tile.draw, model, rows),
            f"HF generate, batch {peer.batch}": partial(peer.draw, max(rows, peer.batch)),
            "plain torch": partial(drawn, dense.draw, model, rows),
        }
        speeds, flops = alternate(contenders, rounds)
        speeds |= {name: 32 * speed for name, speed in speeds.items() if "HF" in name}  # it counts rows
        work = 2 * sum(w.numel() for w in model.model.hf_state().values() if w.dim() == 2)
        for contender, speed in speeds.items():
            target = f"{ratio} × HF, {share:.0%}" if contender == "driftloop" else ""
            print(
                f"| {name} | {contender} | {speed:,.0f} | {speed * work / flops:.0%} "
                f"| {speeds['driftloop'] / speed:.2f} | {target} |"
            )
        print(f"| {name} | GEMM ceiling, {flops / 1e9:.0f} GFLOP/s | {flops / work:,.0f} | 100% | | |")


def many_per_prompt(model: TinyTransformer, rounds: int, quick: bool) -> None:
    """256 samples of every prompt, by a trained model and by the same one with sharper logits."""
    print("\n## 256 samples per prompt, world of targets, every seen target\n")
    print("| model | contender | samples/s | distinct rows | ours / its | target |")
    print("| --- | --- | --- | --- | --- | --- |")
    prompts = [np.append(1, ids) for ids in model.tokens.encode(seen(quick))]
    copies = 4 if quick else 256
    for name, sampled in {"trained": model, "trained, logits × 4": sharpened(model, 4)}.items():
        room = model.model.shape.context - len(prompts[0])
        peer = Peer(sampled, prompts, room, stop=2, quick=quick)
        distinct = len(draw(trie.draw, sampled, prompts, copies, limit=room, stop=2)[0])
        contenders: dict[str, Callable[[], int]] = {
            "driftloop, trie": partial(sum_copies, trie.draw, sampled, prompts, copies, room),
            "driftloop, every row its own": partial(sum_copies, tile.draw, sampled, prompts, copies, room),
            f"HF generate, batch {peer.batch}": partial(peer.draw, copies * len(prompts)),
        }
        speeds, _ = alternate(contenders, rounds)
        for contender, speed in speeds.items():
            rows = distinct if "trie" in contender else copies * len(prompts)
            target = "5 × HF" if "HF" in contender else ""
            print(
                f"| {name} | {contender} | {speed:,.0f} | {rows:,} "
                f"| {speeds['driftloop, trie'] / speed:.2f} | {target} |"
            )


def a_million(rounds: int, quick: bool) -> None:
    """10^6 draws of a model that has learnt 100 strings by heart; HF's time is extrapolated from its speed."""
    copies, measured = (1000, 128) if quick else (10**6, 8192)
    model, share = collapsed(10 if quick else 800)
    peer = Peer(model, [np.array([1])], 14, stop=2, quick=quick)
    distinct = len(draw(trie.draw, model, [np.array([1])], copies, limit=14, stop=2)[0])
    contenders: dict[str, Callable[[], int]] = {
        "ours": lambda: sum_copies(trie.draw, model, [np.array([1])], copies, 14),
        "peer": partial(peer.draw, measured),
    }
    speeds, _ = alternate(contenders, rounds)
    print(f"\n## {copies:,} draws from a model of 100 modes ({share:.1%} of its mass on them)\n")
    print("| contender | seconds | distinct rows | ours / its | target |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| driftloop, trie | {copies / speeds['ours']:.3f} | {distinct:,} | 1 | |")
    print(
        f"| HF generate, batch {peer.batch}, extrapolated from {measured:,} draws "
        f"| {copies / speeds['peer']:.1f} | {copies:,} | {speeds['ours'] / speeds['peer']:,.0f} | 100 × HF |"
    )


def high_entropy(rounds: int, quick: bool) -> None:
    """What sharing costs where there is nothing to share: random weights, nearly all rows distinct."""
    print("\n## High entropy: what sharing costs where nothing is shared\n")
    print("| parameters | rows | trie / every row its own | target |")
    print("| --- | --- | --- | --- |")
    for name, (shape, *_) in SIZES.items():
        model = fresh(shape)
        for rows in (32,) if quick else (256, 3000):
            contenders: dict[str, Callable[[], int]] = {
                "trie": partial(drawn, trie.draw, model, rows),
                "tile": partial(drawn, tile.draw, model, rows),
            }
            speeds, _ = alternate(contenders, rounds)
            print(f"| {name} | {rows:,} | {speeds['trie'] / speeds['tile']:.2f} | 0.9 |")


def scores(model: TinyTransformer, rounds: int) -> None:
    """Exact log-probabilities of every right answer to every prompt of the world."""
    world = Targets(limit=60)
    texts = world.answers(world.prompts(60, seed=0))
    assert texts is not None
    rows, given = model.ids(texts)
    prompts = [row[:n] for row, n in zip(rows, given, strict=True)]
    answers = [row[n:] for row, n in zip(rows, given, strict=True)]
    state, network = model.model.hf_state(), opened(model)
    contenders: dict[str, Callable[[], int]] = {
        "shared prefixes": lambda: len(prefix_score.logprobs(model.model.shape, state, prompts, answers)),
        "forward passes over padless batches, HF network": lambda: batched_scores(network, rows),
    }
    speeds, _ = alternate(contenders, rounds)
    print(f"\n## Scores of all {len(rows):,} right answers in the world of targets\n")
    print("| contender | CPU-s | ours / its |")
    print("| --- | --- | --- |")
    for contender, speed in speeds.items():
        print(f"| {contender} | {len(rows) / speed:.3f} | {speeds['shared prefixes'] / speed:.2f} |")


class Peer:
    """Hugging Face's generate on the same weights; its batch is the fastest of four, tried once each."""

    def __init__(
        self, model: TinyTransformer, prompts: list[np.ndarray], limit: int, *, stop: int | None, quick: bool
    ) -> None:
        self.network, self.limit = opened(model), limit
        self.network.generation_config.eos_token_id = stop
        self.prompts = torch.from_numpy(np.stack(prompts)).long()
        self.batch = 32
        if not quick:
            self.batch = min((128, 256, 512, 1024), key=self._seconds_per_row)

    def _seconds_per_row(self, batch: int) -> float:
        self._one(batch, 0)
        start = time.process_time()
        self._one(batch, 0)
        return (time.process_time() - start) / batch

    def draw(self, rows: int) -> int:
        """Draw `rows` rows in batches; their number."""
        for start in range(0, rows, self.batch):
            self._one(min(self.batch, rows - start), start)
        return rows

    def _one(self, batch: int, start: int) -> None:
        with torch.inference_mode():
            which = torch.arange(start, start + batch) % len(self.prompts)
            given = self.prompts[which]
            self.network.generate(
                given,
                attention_mask=torch.ones_like(given),
                do_sample=True,
                top_k=0,
                max_new_tokens=self.limit,
                pad_token_id=0,
            )


def alternate(contenders: dict[str, Callable[[], int]], rounds: int) -> tuple[dict[str, float], float]:
    """Median speed of each contender (what it returns per CPU second) and of a large matrix product (FLOP/s)."""
    for run in contenders.values():
        run()
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    peaks = []
    for _ in range(rounds):
        peaks.append(gemm_flops())
        for name, run in contenders.items():
            start = time.process_time()
            made = run()
            speeds[name].append(made / (time.process_time() - start))
    return {name: statistics.median(s) for name, s in speeds.items()}, statistics.median(peaks)


def draw(
    engine: Callable[..., Any], model: TinyTransformer, prompts: list[np.ndarray], copies: int, **how: int
) -> Any:
    """Draw from an engine at temperature 1."""
    shape, state = model.model.shape, model.model.hf_state()
    return engine(shape, state, prompts, np.full(len(prompts), copies), sampling=Sampling(), seed=0, **how)


def drawn(engine: Callable[..., Any], model: TinyTransformer, rows: int) -> int:
    """Draw rows of 32 tokens from the begin mark; the number of tokens, multiplicities included."""
    result = draw(engine, model, [np.array([1])], rows, limit=32, stop=NEVER)
    return int(((result[1] >= 0).sum(1) * result[2]).sum())


def sum_copies(
    engine: Callable[..., Any], model: TinyTransformer, prompts: list[np.ndarray], copies: int, limit: int
) -> int:
    """Draw; the number of samples."""
    return int(draw(engine, model, prompts, copies, limit=limit, stop=2)[2].sum())


def fresh(shape: Shape) -> TinyTransformer:
    """Random weights."""
    return TinyTransformer(Llama.fresh(shape, seed=0), tokens.characters(LETTERS))


def quickstart(steps: int) -> TinyTransformer:
    """The base model of runs/quickstart.yaml."""
    world = Targets(limit=60, min_operand=2, holdout=0.2)
    data = world.real(steps * 96, seed=0)
    start = Transformer(width=48, layers=2, heads=4).fresh(world, seed=0)
    return Supervised(steps=steps, batch=96, learning_rate=3e-3).fit(start, data, seed=0)[0]


def seen(quick: bool) -> list[str]:
    """Every prompt that the training shows."""
    prompts = Targets(limit=60, min_operand=2, holdout=0.2).prompts(1000, seed=0)["prompt"].to_list()
    return prompts[:8] if quick else prompts


def collapsed(steps: int) -> tuple[TinyTransformer, float]:
    """A model that has learnt 100 random strings of 12 letters by heart, and its mass on them."""
    letters = np.random.default_rng(0).choice(list(LETTERS), (100, 12))
    data = pl.DataFrame({"prompt": "", "response": ["".join(row) for row in letters]})
    data = data.with_columns(count=pl.lit(1, pl.UInt64))
    shape = Shape(64, 48, 2, 4, 4, 128, context=16)
    retrainer = Supervised(steps=steps, batch=100, learning_rate=3e-3)
    model = retrainer.fit(fresh(shape), data, seed=0)[0]
    return model, float(np.exp(model.logprob(data)).sum())


def sharpened(model: TinyTransformer, factor: float) -> TinyTransformer:
    """The same model with its logits multiplied: what a loop makes of it."""
    copy = model.model.copy()
    copy.weights["norm"] *= factor
    return TinyTransformer(copy, model.tokens)


def batched_scores(network: Any, rows: list[np.ndarray]) -> int:
    """Score rows of one length together, at most 1024 at a time."""
    lengths = np.array([len(row) for row in rows])
    with torch.inference_mode():
        for length in np.unique(lengths):
            members = np.flatnonzero(lengths == length)
            for part in np.array_split(members, -(-len(members) // 1024)):
                ids = torch.from_numpy(np.stack([rows[i] for i in part]))
                network(ids).logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])
    return len(rows)


def opened(model: TinyTransformer) -> Any:
    """The same network in transformers."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return AutoModelForCausalLM.from_pretrained(folder).eval()


def gemm_flops() -> float:
    """Floating-point operations per CPU second of a large product."""
    a, b, out = (torch.randn(1024, 1024) for _ in range(3))
    torch.mm(a, b, out=out)
    start = time.process_time()
    for _ in range(5):
        torch.mm(a, b, out=out)
    return 5 * 2 * 1024**3 / (time.process_time() - start)


if __name__ == "__main__":
    main()
