"""The quickstart's loop written in the ordinary way: transformers' Trainer and generate, the usual metric packages.

    python benchmarks/peer_loop.py CONFIG --arm quality --seed 0 --out peer.json

One lineage of the configuration, on one thread; `benchmarks/quickstart.py` runs it as the peer. From driftloop it
takes the problem alone: the settings, the corpus, the prompts, the list of right answers and the initial weights
(which transformers opens), all outside the measured time.

Measured on probe pool, pool and choice: valid and correct share; Hill 0, 1, 2, inf, top-1, top-10 and top-1 % shares,
Hill-1 of strategies, distinct modes per prompt; distinct-1, 2, 3; Vendi 1 and 2; self-BLEU of 100 samples;
compression ratio; tokens. On the model: exact and greedy accuracy, pass@1, 8, 64, coverage@64, Hill-1 per prompt
on every split; exact Hill 0, 1, 2; strategy shares.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = os.environ["TOKENIZERS_PARALLELISM"] = "1"

import argparse
import json
import math
import random
import re
import tempfile
import time
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

FORM = re.compile(r"(\d+)([-+*])(\d+)$")
BATCHES = (256, 512, 1024, 3072)  # of generate, tried before anything is measured
ROWS = 1024  # scored in one forward pass
BUDGET = 64
BLEU_SAMPLE = 100
PAD = 0


class Sample(NamedTuple):
    """One text with what the verifier says of it."""

    prompt: str
    response: str
    logprob: float
    mode: str | None
    strategy: str | None
    right: bool


class Watch:
    """CPU and wall seconds per phase and generation."""

    def __init__(self) -> None:
        self.times: list[dict[str, Any]] = []

    def __call__(self, generation: int, phase: str, work: Callable[[], Any]) -> Any:
        """Run `work` and note what it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        self.times.append({"generation": generation, "phase": phase, **took})
        return result


class Loop:
    """Everything that stays the same over the generations of one lineage."""

    def __init__(self, arm: Any, seed: int) -> None:
        from transformers import AutoTokenizer

        self.arm, self.seed, self.world, self.draw = arm, seed, arm.world, random.Random(seed)
        self.folder = Path(tempfile.mkdtemp())
        arm.model.fresh(arm.world, seed=seed).save(self.folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        answers = {split: self.world.truth(split) for split in self.world.splits}
        self.answers = {split: list(rows.iter_rows(named=True)) for split, rows in answers.items()}
        self.scored = self.encode(
            [r["prompt"] + r["response"] for rows in self.answers.values() for r in rows]
        )
        self.wide = len(self.answers["id"][0]["prompt"]) - 1
        self.batch = BATCHES[-1]

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids of whole texts, marks included, padded on the right (causal attention never looks there)."""
        limit = {"truncation": True, "max_length": self.world.max_tokens + 2}
        marked = [f"<bos>{text}<eos>" for text in texts]
        return self.tokenizer(
            marked, add_special_tokens=False, padding=True, return_tensors="pt", **limit
        ).input_ids

    def network(self) -> Any:
        """The initial network."""
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM.from_pretrained(self.folder)

    def train(self, network: Any, texts: Sequence[str], spec: Any, seed: int) -> Any:
        """transformers' Trainer with everything off that only reports."""
        from transformers import PrinterCallback, Trainer, TrainingArguments

        settings = TrainingArguments(
            output_dir=str(self.folder / "trainer"),
            max_steps=spec.steps,
            per_device_train_batch_size=spec.batch,
            learning_rate=spec.learning_rate,
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": spec.floor},
            warmup_steps=spec.warmup,
            weight_decay=spec.weight_decay,
            adam_beta1=spec.betas[0],
            adam_beta2=spec.betas[1],
            max_grad_norm=spec.clip,
            optim="adamw_torch_fused",
            use_cpu=True,
            dataloader_pin_memory=False,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            seed=seed,
        )
        rows = [{"input_ids": row, "labels": row.masked_fill(row == PAD, -100)} for row in self.encode(texts)]
        trainer = Trainer(model=network.train(), args=settings, train_dataset=rows)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return network

    def generate(self, network: Any, prompts: list[str], *, sample: bool = True) -> list[Sample]:
        """transformers' generate in batches, with the log-probability of each response."""
        drawn: list[Sample] = []
        for start in range(0, len(prompts), self.batch):
            drawn += self.answer(network, prompts[start : start + self.batch], sample)
        return drawn

    @torch.no_grad()
    def answer(self, network: Any, prompts: list[str], sample: bool) -> list[Sample]:
        """One batch of responses."""
        ids = self.tokenizer(
            ["<bos>" + p for p in prompts], add_special_tokens=False, return_tensors="pt"
        ).input_ids
        out = network.eval().generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=sample,
            top_k=0,
            max_new_tokens=self.scored.shape[1] - ids.shape[1],
            return_dict_in_generate=True,
            output_logits=True,
        )
        chosen = network.compute_transition_scores(out.sequences, out.logits, normalize_logits=True)
        new = out.sequences[:, ids.shape[1] :]
        logprobs = chosen.masked_fill(new == PAD, 0).sum(1).tolist()
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [self.verify(p, t, lp) for p, t, lp in zip(prompts, texts, logprobs, strict=True)]

    def verify(self, prompt: str, response: str, logprob: float) -> Sample:
        """Parse a response and compare its value to the prompt's."""
        form, world = FORM.match(response.replace(" ", "")), self.world
        if form is None or not all(
            len(n) == self.wide and world.min_operand <= int(n) < world.limit for n in form.group(1, 3)
        ):
            return Sample(prompt, response, logprob, None, None, False)
        a, sign, b = int(form[1]), form[2], int(form[3])
        value = {"+": a + b, "-": a - b, "*": a * b}[sign]
        low, high = (a, b) if sign == "-" else sorted((a, b))
        return Sample(prompt, response, logprob, f"{low}{sign}{high}", sign, value == int(prompt[:-1]))

    def prompts(self, n: int) -> list[str]:
        """The seen targets as evenly as possible."""
        return [
            row["prompt"]
            for row in self.world.prompts(n, seed=self.draw.getrandbits(30)).iter_rows(named=True)
            for _ in range(row["count"])
        ]

    def best_batch(self, network: Any) -> int:
        """The batch at which generate is fastest here."""
        prompts, took = self.prompts(BATCHES[-1]), {}
        for self.batch in BATCHES:
            self.answer(network, prompts[: self.batch], True)
            begun = time.process_time()
            self.generate(network, prompts)
            took[self.batch] = time.process_time() - begun
        return min(took, key=lambda size: took[size])

    @torch.no_grad()
    def score(self, network: Any) -> np.ndarray:
        """ln p(response, end | prompt) of every right answer, nats."""
        given, parts = 1 + len(self.answers["id"][0]["prompt"]), []
        for ids in self.scored.split(ROWS):
            logs = network.eval()(input_ids=ids).logits[:, given - 1 : -1].log_softmax(-1)
            parts.append(logs.gather(2, ids[:, given:, None])[..., 0].sum(1))
        return torch.cat(parts).double().numpy()


def select(pool: list[Sample], keep: int, policy: Any, draw: random.Random) -> list[Sample]:
    """The three policies of the quickstart."""
    if policy.kind == "uniform":
        return draw.sample(pool, keep)
    right = [sample for sample in pool if sample.right]
    if policy.kind == "quota":
        return list(in_turns(right, [lambda s: s.prompt, lambda s: s.strategy, lambda s: s.mode], draw))[
            :keep
        ]
    logs = np.array([sample.logprob for sample in right])
    noise = np.array([draw.gauss(0, 1) for _ in right])
    rank = policy.strength * (logs - logs.mean()) / logs.std() + math.sqrt(1 - policy.strength**2) * noise
    return [right[i] for i in np.argsort(-rank)[:keep]]


def in_turns(
    samples: list[Sample], levels: list[Callable[[Sample], Any]], draw: random.Random
) -> Iterator[Sample]:
    """Round-robin over nested groups, in random order."""
    if not levels:
        yield from draw.sample(samples, len(samples))
        return
    groups: dict[Any, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[levels[0](sample)].append(sample)
    queues = [in_turns(group, levels[1:], draw) for group in groups.values()]
    draw.shuffle(queues)
    for turn in zip_longest(*queues):
        yield from (sample for sample in turn if sample is not None)


def hill(p: np.ndarray, q: float) -> float:
    """Hill number of probabilities."""
    p = p[p > 0] / p.sum()
    return float(np.exp(-(p * np.log(p)).sum())) if q == 1 else float((p**q).sum() ** (1 / (1 - q)))


def describe(samples: list[Sample]) -> dict[str, float]:
    """What the usual packages say of a pool."""
    from nltk import ngrams
    from sklearn.feature_extraction.text import HashingVectorizer
    from vendi_score import vendi

    modes = Counter(sample.mode for sample in samples if sample.mode)
    shares = np.array([count for _, count in modes.most_common()]) / modes.total()
    texts = [sample.response for sample in samples]
    said = {
        "valid": modes.total() / len(samples),
        "correct": sum(sample.right for sample in samples) / len(samples),
        "tokens": sum(map(len, texts)) / len(texts) + 1,
        **{f"hill{q}": hill(shares, q) for q in (0, 1, 2)},
        "hill_inf": 1 / shares[0],
        "top1": shares[0],
        "top10": shares[:10].sum(),
        "top1pct": shares[: math.ceil(len(shares) / 100)].sum(),
    }
    kinds = np.array(list(Counter(sample.strategy for sample in samples if sample.strategy).values()))
    per_prompt = defaultdict(set)
    for sample in samples:
        per_prompt[sample.prompt].add(sample.mode)
    said |= {
        "strategy_hill1": hill(kinds / kinds.sum(), 1),
        "per_prompt": sum(map(len, per_prompt.values())) / len(per_prompt),
    }
    for n in (1, 2, 3):
        grams = [gram for text in texts for gram in ngrams(text, n)]
        said[f"distinct{n}"] = len(set(grams)) / len(grams)
    vectors = (
        HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=128).transform(texts).toarray()
    )
    joined = "\n".join(texts).encode()
    said |= {f"vendi{q}": float(vendi.score_dual(vectors, q=q)) for q in (1, 2)}
    return said | {"compression": len(joined) / len(zlib.compress(joined, 9))}


def self_bleu(samples: list[Sample], draw: random.Random) -> float:
    """Mean BLEU-4 of BLEU_SAMPLE of the samples, each against the others of them: all would take hours."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    texts, smooth = (
        [list(s.response) for s in draw.sample(samples, min(BLEU_SAMPLE, len(samples)))],
        SmoothingFunction().method1,
    )
    others = ([*texts[:i], *texts[i + 1 :]] for i in range(len(texts)))
    return float(
        np.mean([sentence_bleu(o, t, smoothing_function=smooth) for o, t in zip(others, texts, strict=True)])
    )


def examine(loop: Loop, network: Any, probe: list[Sample]) -> dict[str, Any]:
    """One model: its probe pool, every right answer scored, greedy answers."""
    found: dict[str, Any] = {"model": describe(probe)}
    logs, at = loop.score(network), 0
    for split, answers in loop.answers.items():
        mine, at = np.exp(logs[at : at + len(answers)]), at + len(answers)
        found[split] = examine_split(answers, mine)
        asked = list(dict.fromkeys(row["prompt"] for row in answers))
        found[split]["greedy"] = float(
            np.mean([s.right for s in loop.generate(network, asked, sample=False)])
        )
    return found


def examine_split(answers: list[dict[str, Any]], mass: np.ndarray) -> dict[str, float]:
    """Exact accuracy, pass@k and diversity of the right answers to every prompt of a split."""
    asked: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    modes: dict[str, float] = defaultdict(float)
    kinds: dict[str, float] = defaultdict(float)
    for row, p in zip(answers, mass, strict=True):
        asked[row["prompt"]][row["mode"]] += p
        modes[row["mode"]] += p
        kinds[row["strategy"]] += p
    per_prompt = [np.array(list(group.values())) for group in asked.values()]
    right = np.array([min(group.sum(), 1.0) for group in per_prompt])
    everything = np.array(list(modes.values()))
    return {
        "accuracy": float(right.mean()),
        **{f"pass{k}": float((1 - (1 - right) ** k).mean()) for k in (1, 8, BUDGET)},
        "hill1_per_prompt": float(np.mean([hill(group, 1) for group in per_prompt])),
        "coverage64": float(np.mean([(1 - (1 - group) ** BUDGET).sum() for group in per_prompt])),
        **{f"exact_hill{q}": hill(everything, q) for q in (0, 1, 2)},
        **{f"share {kind}": p / everything.sum() for kind, p in kinds.items()},
    }


def play(loop: Loop, generations: int) -> dict[str, Any]:
    """The lineage: times per phase, and what was measured per generation."""
    arm, watch, drawn = loop.arm, Watch(), loop.draw
    corpus = loop.world.real(arm.base.samples, seed=drawn.getrandbits(30))
    texts = [
        row["prompt"] + row["response"] for row in corpus.iter_rows(named=True) for _ in range(row["count"])
    ]
    network = watch(0, "base", lambda: loop.train(loop.network(), texts, arm.base.retrain, loop.seed))
    begun = time.perf_counter(), time.process_time()
    loop.batch = loop.best_batch(network)
    calibration = {"wall_s": time.perf_counter() - begun[0], "cpu_s": time.process_time() - begun[1]}
    seen = [evaluate(loop, network, 0, watch, "first evaluation", {})]
    for t in range(1, generations + 1):
        network, found = turn(loop, network, t, watch)
        seen.append(found)
    return {"times": watch.times, "seen": seen, "batch": loop.batch, "calibration": calibration}


def turn(loop: Loop, network: Any, t: int, watch: Watch) -> tuple[Any, dict[str, Any]]:
    """One generation: the next network, and what was measured."""
    arm = loop.arm
    pool = watch(t, "generate", lambda: loop.generate(network, loop.prompts(arm.loop.pool)))
    chosen = watch(t, "select", lambda: select(pool, arm.loop.keep, arm.select, loop.draw))
    data = [sample.prompt + sample.response for sample in chosen]
    fresh = watch(t, "retrain", lambda: loop.train(network, data, arm.retrain, loop.seed * 100 + t))
    return fresh, evaluate(loop, fresh, t, watch, "evaluate", {"pool": pool, "chosen": chosen})


def evaluate(
    loop: Loop, network: Any, t: int, watch: Watch, phase: str, stages: dict[str, list[Sample]]
) -> dict[str, Any]:
    """What is measured on a round's stages and on a model; self-BLEU is clocked apart."""
    probe = watch(t, phase, lambda: loop.generate(network, loop.prompts(loop.arm.probe)))
    found = watch(t, phase, lambda: {name: describe(samples) for name, samples in stages.items()})
    found |= watch(t, phase, lambda: examine(loop, network, probe))
    texts = stages | {"model": probe}
    bleu = watch(
        t, f"{phase}, self-BLEU", lambda: {name: self_bleu(s, loop.draw) for name, s in texts.items()}
    )
    for name, value in bleu.items():
        found[name]["self_bleu"] = value
    return found


def main() -> None:
    """Play one lineage and write its record as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("config", type=Path)
    options.add_argument("--arm", required=True)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, required=True)
    asked = options.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    from transformers.utils import logging

    from driftloop.loop.compose import load

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    arm = load([asked.config], []).arms[asked.arm]
    asked.out.write_text(json.dumps(play(Loop(arm, asked.seed), arm.loop.generations)))


if __name__ == "__main__":
    main()
