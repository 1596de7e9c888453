"""Training speed: ours, Hugging Face's Trainer, a bare torch loop over its network, and the GEMM ceiling.

    python benchmarks/training.py [--steps 300] [--rounds 5]

All in one process on one thread, in alternating rounds; medians of CPU seconds, so that other load on the machine
disturbs little. All train on the same random texts with AdamW and clipping at 1.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from driftloop.generators.models import llama, tokens
from driftloop.generators.models.transformer import TinyTransformer
from driftloop.loop.retrain.supervised import Supervised

LETTERS = "".join(chr(ord("!") + i) for i in range(61))  # 64 tokens with the marks
SETTINGS = {
    "1.0M, 64 tokens, batch 16": (llama.Shape(64, 128, 5, 4, 4, 344, context=64), 16),
    "56k, 11 tokens, batch 64": (llama.Shape(17, 48, 2, 4, 4, 128, context=11), 64),
}


def main() -> None:
    """Print one Markdown table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=300)
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {asked.steps} steps, median of {asked.rounds} rounds, one thread\n")
    print("| setting | contender | CPU-s | tokens/s | of the GEMM ceiling | time of ours / its |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (shape, batch) in SETTINGS.items():
        measure(name, shape, batch, asked.steps, asked.rounds)


def measure(name: str, shape: llama.Shape, batch: int, steps: int, rounds: int) -> None:
    """The rows of one setting."""
    generator, data, ids = problem(shape, batch * steps)
    contenders: dict[str, Callable[[int], None]] = {
        "driftloop": lambda n: ours(generator, data, batch, n),
        "HF Trainer": lambda n: trainer(generator, ids, batch, n),
        "bare torch loop over the HF network": lambda n: bare(generator, ids, batch, n),
    }
    for run in contenders.values():
        run(5)
    times: dict[str, list[float]] = {contender: [] for contender in contenders}
    peaks = []
    for _ in range(rounds):
        peaks.append(gemm_flops())
        for contender, run in contenders.items():
            start = time.process_time()
            run(steps)
            times[contender].append(time.process_time() - start)
    middle = {contender: statistics.median(t) for contender, t in times.items()}
    trained = batch * (shape.context - 1) * steps
    work = 6 * llama.Llama.size(shape) * trained
    for contender, seconds in middle.items():
        share, ratio = work / seconds / statistics.median(peaks), middle["driftloop"] / seconds
        print(
            f"| {name} | {contender} | {seconds:.2f} | {trained / seconds:,.0f} | {share:.0%} | {ratio:.2f} |"
        )


def problem(shape: llama.Shape, rows: int) -> tuple[TinyTransformer, pl.DataFrame, torch.Tensor]:
    """A fresh network, and `rows` random texts as strings and as ids."""
    letters = LETTERS[: shape.vocab - 3]
    generator = TinyTransformer(llama.Llama.fresh(shape, seed=0), tokens.characters(letters))
    drawn = np.random.default_rng(0).choice(list(letters), (rows, shape.context - 2))
    texts = ["".join(row) for row in drawn]
    data = pl.DataFrame({"prompt": "", "response": texts, "count": pl.Series([1] * rows, dtype=pl.UInt64)})
    return generator, data, torch.from_numpy(np.stack(generator.ids(data)[0]))


def ours(generator: TinyTransformer, data: pl.DataFrame, batch: int, steps: int) -> None:
    """Our retrainer, tokenisation included."""
    Supervised(steps=steps, batch=batch, learning_rate=1e-3).fit(generator, data.head(batch * steps), seed=0)


def bare(generator: TinyTransformer, ids: torch.Tensor, batch: int, steps: int) -> None:
    """The shortest sensible loop over transformers' network."""
    network = opened(generator)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    for step in range(steps):
        rows = ids[step * batch : (step + 1) * batch]
        network(input_ids=rows, labels=rows).loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def trainer(generator: TinyTransformer, ids: torch.Tensor, batch: int, steps: int) -> None:
    """transformers' Trainer with everything switched off that only reports."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            weight_decay=0.01,
            adam_beta2=0.98,
            optim="adamw_torch_fused",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        rows = [{"input_ids": row, "labels": row} for row in ids]
        theirs = Trainer(model=opened(generator), args=settings, train_dataset=rows)
        theirs.remove_callback(PrinterCallback)
        theirs.train()


def opened(generator: TinyTransformer) -> Any:
    """The same network in transformers."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        generator.save(Path(folder))
        return AutoModelForCausalLM.from_pretrained(folder).train()


def gemm_flops() -> float:
    """Floating-point operations per CPU second of a large product."""
    a, b, out = (torch.randn(1024, 1024) for _ in range(3))
    torch.mm(a, b, out=out)
    start = time.process_time()
    for _ in range(10):
        torch.mm(a, b, out=out)
    return 10 * 2 * 1024**3 / (time.process_time() - start)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
