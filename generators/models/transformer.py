"""Model `transformer`: a tiny Llama, trained from scratch, saved so that transformers and vLLM open it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from driftloop.generators.contracts import Sampling, World
from driftloop.generators.seeds import stream
from driftloop.generators.spec import Spec

if TYPE_CHECKING:
    from driftloop.generators.models.llama import Llama
    from driftloop.generators.models.tokens import Tokens

EngineKind = Literal["auto", "dense", "trie"]
TOKENS_AT_ONCE = 16384  # scored in one batch
LEARNED_FROM = 20_000  # real samples that byte pairs are learned from


class Transformer(Spec):
    """A Llama of `width` and `layers`; the defaults have 56k parameters in the world of targets."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(48, ge=4)
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    ff: int | None = Field(None, ge=1, description="inner width; null = 8/3 of width, to the nearest 8")
    tokenizer: Literal["char", "byte", "bpe"] = "char"
    vocab: int = Field(512, ge=259, description="tokens of a bpe tokenizer; the others have their own number")
    context: int | None = Field(
        None, ge=2, description="most tokens of a text, marks included; null = the world's"
    )
    engine: EngineKind = Field(
        "auto", description="how it is sampled: auto and trie share prefixes, dense does not"
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> Transformer:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width={self.width} must be a multiple of 2·heads={2 * self.heads}; change either"
            )
        return self

    def fresh(self, world: World, *, seed: int) -> TinyTransformer:
        """A network with random weights and a tokenizer for the world's texts."""
        from driftloop.generators.models import tokens
        from driftloop.generators.models.llama import Llama, Shape

        def corpus() -> list[str]:
            drawn = world.real(LEARNED_FROM, seed=stream(seed, "tokenizer"))
            return [*drawn["prompt"].to_list(), *drawn["response"].to_list()]

        tokenizer = tokens.fitted(self.tokenizer, world.alphabet, self.vocab, corpus)
        shape = Shape(
            vocab=tokenizer.size,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            kv_heads=self.heads,
            ff=self.ff or max(8, round(self.width / 3) * 8),
            context=self.context or world.max_tokens + 2,
        )
        return TinyTransformer(Llama.fresh(shape, seed=stream(seed, "weights")), tokenizer, self.engine)

    def load(self, path: Path) -> TinyTransformer:
        """Read a generator that `save` wrote; it is sampled with this engine."""
        read = TinyTransformer.load(path)
        return TinyTransformer(read.model, read.tokens, self.engine)


@final
class TinyTransformer:
    """A network, its tokenizer, and the engine that samples it."""

    def __init__(self, model: Llama, tokens: Tokens, engine: EngineKind = "auto") -> None:
        self.model = model
        self.tokens = tokens
        self.engine = engine

    def sample(self, prompts: pl.DataFrame, sampling: Sampling, *, seed: int) -> pl.DataFrame:
        """Draw `count` responses to each prompt; prompts of one length are drawn together."""
        begun = self._begun(prompts["prompt"].to_list())
        counts = prompts["count"].to_numpy().astype(np.int64)
        lengths = np.array([len(p) for p in begun], np.int64)
        parts = []
        for length in np.unique(lengths):
            members = np.flatnonzero(lengths == length)
            limit = min(self._room(int(length)), sampling.max_tokens or self.model.shape.context)
            drawn = self._draw(
                [begun[i] for i in members], counts[members], sampling, limit, stream(seed, int(length))
            )
            parts.append(self._read(drawn, prompts[members]))
        return pl.concat(parts) if parts else _NOTHING

    def greedy(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The likeliest response, token by token, to each prompt."""
        from driftloop.generators.engines.dense import draw

        texts = prompts["prompt"].unique(maintain_order=True)
        begun = self._begun(texts.to_list())
        answers = np.full(len(begun), "", object)
        lengths = np.array([len(p) for p in begun], np.int64)
        for length in np.unique(lengths):
            members = np.flatnonzero(lengths == length)
            drawn = draw(
                self.model.shape,
                self.model.hf_state(),
                [begun[i] for i in members],
                np.ones(len(members), np.int64),
                sampling=Sampling(),
                stop=_eos(),
                limit=self._room(int(length)),
                seed=0,
                greedy=True,
            )
            answers[members[drawn.prompt]] = self.tokens.decode(drawn.tokens)
        known = pl.DataFrame({"prompt": texts, "response": pl.Series(answers.tolist(), dtype=pl.String)})
        return prompts.drop("response", strict=False).join(
            known, on="prompt", how="left", maintain_order="left"
        )

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        """ln p(response | prompt) in nats of each row, shape (rows,)."""
        import torch

        rows, given = self.texts(texts, complete=complete)
        result = np.zeros(len(rows))
        with torch.inference_mode():
            for members in _alike(np.array([len(r) for r in rows], np.int64)):
                ids = torch.from_numpy(np.stack([rows[i] for i in members]))
                result[members] = self._scored(ids, given[members])
        return result

    def texts(self, texts: pl.DataFrame, *, complete: bool = True) -> tuple[list[np.ndarray], np.ndarray]:
        """Token ids of every row, marks included, and how many of them belong to the prompt, shape (rows,)."""
        prompts = self._begun(texts["prompt"].to_list())
        responses = self.tokens.encode(texts["response"].to_list())
        end = [np.array([_eos()])] if complete else []
        rows = [np.concatenate([p, r, *end]) for p, r in zip(prompts, responses, strict=True)]
        return rows, np.array([len(p) for p in prompts], np.int64)

    def save(self, path: Path) -> None:
        """Write config.json, model.safetensors, tokenizer.json and their companions."""
        from driftloop.generators.models import llama, tokens

        llama.save(self.model, path)
        tokens.save(self.tokens, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        from driftloop.generators.models import llama, tokens

        return cls(llama.load(path), tokens.load(path))

    def _begun(self, prompts: list[str]) -> list[np.ndarray]:
        from driftloop.generators.models.tokens import BOS

        return [np.concatenate([[BOS], ids]) for ids in self.tokens.encode(prompts)]

    def _room(self, length: int) -> int:
        room = self.model.shape.context - length
        if room < 1:
            raise ValueError(
                f"a prompt of {length} tokens leaves no room in context={length + room}; raise context"
            )
        return room

    def _draw(
        self, begun: list[np.ndarray], counts: np.ndarray, sampling: Sampling, limit: int, seed: int
    ) -> Any:
        from driftloop.generators.engines import dense

        draw: Any = dense.draw
        if self.engine != "dense" and find_spec("driftloop.generators.engines.trie"):
            draw = import_module("driftloop.generators.engines.trie").draw
        state = self.model.hf_state()
        return draw(
            self.model.shape, state, begun, counts, sampling=sampling, stop=_eos(), limit=limit, seed=seed
        )

    def _read(self, drawn: Any, prompts: pl.DataFrame) -> pl.DataFrame:
        index, tokens, count, logprob = drawn
        return prompts[index].select(
            pl.col("parent_id").cast(pl.UInt64)
            if "parent_id" in prompts.columns
            else pl.lit(None, pl.UInt64),
            "prompt",
            pl.Series("response", self.tokens.decode(tokens), dtype=pl.String),
            pl.Series("count", count.astype(np.uint64)),
            pl.Series("logprob", np.minimum(logprob, 0.0)),
            pl.Series("n_tokens", (tokens >= 0).sum(1).astype(np.uint32)),
        )

    def _scored(self, ids: Any, given: np.ndarray) -> np.ndarray:
        """ln p of the tokens after the first `given` of each row of (rows, length)."""
        import torch

        rows, length = ids.shape
        asked = torch.arange(1, length)[None] >= torch.from_numpy(given)[:, None]
        positions = asked.reshape(-1).nonzero()[:, 0]
        if not len(positions):
            return np.zeros(rows)
        logits = self.model.logits(ids[:, :-1], positions)
        nll = torch.nn.functional.cross_entropy(logits, ids[:, 1:].reshape(-1)[positions], reduction="none")
        row = positions // (length - 1)
        return -torch.zeros(rows, dtype=torch.float64).index_add(0, row, nll.double()).numpy()


_NOTHING = pl.DataFrame(
    schema={
        "parent_id": pl.UInt64,
        "prompt": pl.String,
        "response": pl.String,
        "count": pl.UInt64,
        "logprob": pl.Float64,
        "n_tokens": pl.UInt32,
    }
)


def _alike(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of one length, in batches."""
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        yield from np.array_split(members, -(-len(members) * int(length) // TOKENS_AT_ONCE))


def _eos() -> int:
    from driftloop.generators.models.tokens import EOS

    return EOS
