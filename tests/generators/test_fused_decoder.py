"""The fused decoder computes what transformers' Llama computes, position by position."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from driftloop.generators.engines.decoder import Decoder, one_thread
from driftloop.generators.models.llama import Llama, Shape

SHAPES = [
    Shape(vocab=19, width=48, layers=2, heads=4, kv_heads=4, ff=136),
    Shape(vocab=7, width=24, layers=3, heads=4, kv_heads=2, ff=20, rope_theta=500.0, norm_eps=1e-3),
    Shape(vocab=64, width=32, layers=1, heads=1, kv_heads=1, ff=8),
]


def weights(shape: Shape, *, seed: int) -> dict[str, torch.Tensor]:
    """Random weights, gains of the norms included."""
    generator = torch.Generator().manual_seed(seed)
    state = Llama.fresh(shape, seed=seed).hf_state()
    return {
        name: w * (0.5 + torch.rand(w.shape, generator=generator)) if w.dim() == 1 else w.clone()
        for name, w in state.items()
    }


@pytest.mark.parametrize("shape", SHAPES, ids=["usual", "grouped", "one head"])
def test_log_probabilities_are_those_of_transformers(
    shape: Shape, reference: Callable[..., np.ndarray]
) -> None:
    state = weights(shape, seed=1)
    ids = np.random.default_rng(2).integers(0, shape.vocab, (21, 13))
    expected = reference(shape, state, ids)
    decoder = Decoder(shape, state, 13)
    tile = decoder.tile(21, 13)
    tokens = np.zeros(tile.shape[-1], np.int64)
    for t in range(13):
        tokens[:21] = ids[:, t]
        logits, log_sum = decoder.step(tile, t, tokens)
        np.testing.assert_allclose((logits - log_sum)[:, :21].T, expected[:, t], atol=1e-4)


def test_gathered_rows_go_on_as_their_parents_would() -> None:
    shape = SHAPES[0]
    decoder = Decoder(shape, weights(shape, seed=1), 6)
    tile = decoder.tile(16, 6)
    ids = np.random.default_rng(3).integers(0, shape.vocab, (6, 16))
    for t in range(5):
        decoder.step(tile, t, ids[t])
    parents = np.array([3, 3, 15, 0])
    children = decoder.tile(4, 6)
    decoder.gather(tile, parents, children, 0, 5)
    expected = decoder.step(tile, 5, np.full(16, 4))[0][:, parents].copy()
    actual = decoder.step(children, 5, np.full(16, 4))[0][:, :4]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_compiled_code_is_kept_where_the_package_cannot_be_written(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """As on a laptop where the package belongs to root: numba falls back to the user's cache folder."""
    from driftloop.generators.engines import kernels

    package = tmp_path / "package"
    package.mkdir()
    source = (package / "kernels.py").resolve()
    source.write_text(Path(kernels.__file__).read_text())
    (package / "__pycache__").write_text("a file, so that no folder of this name can be made")
    program = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); sys.dont_write_bytecode = True; import kernels;"
        "x = np.ones((2, 16)); kernels.accumulate(x, np.empty_like(x));"
        "print(sum(kernels.accumulate.stats.cache_hits.values()))"
    )
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", program, str(package)]
    hits = []
    for _ in range(2):
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        hits.append(run.stdout.strip())
    assert hits == ["0", "1"]
