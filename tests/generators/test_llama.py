"""The network is transformers' Llama: same logits, same gradients, same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from driftloop.generators.engines.passes import Passes
from driftloop.generators.models import llama
from driftloop.generators.models.llama import Llama, Shape

SHAPES = {
    "quickstart": Shape(17, 48, 2, 4, 4, 128, context=10),
    "grouped queries": Shape(23, 32, 3, 4, 2, 40, rope_theta=500.0, norm_eps=1e-5, context=64),
    "one head of odd pairs": Shape(9, 6, 1, 1, 1, 8, context=5),
}


@pytest.fixture(params=sorted(SHAPES))
def model(request: pytest.FixtureRequest) -> Llama:
    """A network whose gains are not all alike."""
    model = Llama.fresh(SHAPES[request.param], seed=1)
    model.flat.add_(0.05 * torch.randn(model.flat.shape, generator=torch.Generator().manual_seed(2)))
    return model


def opened(model: Llama, folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    llama.save(model, folder)
    return AutoModelForCausalLM.from_pretrained(folder)


def rows_of_ids(shape: Shape, rows: int = 7) -> np.ndarray:
    return np.random.default_rng(3).integers(1, shape.vocab, (rows, shape.context))


def test_transformers_opens_the_folder_and_gives_the_same_logits(model: Llama, tmp_path: Path) -> None:
    theirs = opened(model, tmp_path)
    ids_BxT = rows_of_ids(model.shape)
    logits_VxN = Passes(model).logits(np.ascontiguousarray(ids_BxT.T))
    ours_BxTxV = logits_VxN.view(model.shape.vocab, *ids_BxT.T.shape).permute(2, 1, 0)
    with torch.inference_mode():
        assert (theirs(torch.from_numpy(ids_BxT)).logits - ours_BxTxV).abs().max() < 1e-4


@pytest.mark.parametrize("everything", [True, False])
def test_the_gradient_is_autograds(model: Llama, tmp_path: Path, everything: bool) -> None:
    theirs = opened(model, tmp_path)
    ids_BxT = rows_of_ids(model.shape)
    random = np.random.default_rng(4)
    asked = np.ones(ids_BxT.shape, bool) if everything else random.random(ids_BxT.shape) < 0.4
    passes, grad = Passes(model), model.copy()
    nll = passes.nll(ids_BxT, None if everything else asked)
    weight = random.standard_normal(len(nll)).astype(np.float32)
    passes.backward(weight, grad)

    ids = torch.from_numpy(ids_BxT)
    logits_NxV = theirs(ids[:, :-1]).logits.transpose(0, 1).flatten(0, 1)
    every = torch.nn.functional.cross_entropy(logits_NxV, ids[:, 1:].T.flatten(), reduction="none")
    picked = every[torch.from_numpy(asked[:, 1:].T.ravel())]
    torch.autograd.backward(picked @ torch.from_numpy(weight))
    assert np.abs(nll - picked.detach().numpy()).max() < 1e-4
    of = dict(theirs.named_parameters())
    for name, value in grad.hf_state().items():
        assert (of[name].grad - value).abs().max() < 1e-3, name


def test_buffers_of_a_larger_batch_do_not_leak_into_a_smaller_one(model: Llama) -> None:
    ids_BxT = rows_of_ids(model.shape)
    used, fresh = Passes(model), Passes(model)
    used.backward(np.ones_like(used.nll(ids_BxT)), model.copy())
    one, two = model.copy(), model.copy()
    nll = used.nll(ids_BxT[:2, :4])
    used.backward(np.ones_like(nll), one)
    fresh.backward(np.ones_like(fresh.nll(ids_BxT[:2, :4])), two)
    assert torch.equal(one.flat, two.flat)


def test_what_is_saved_is_read_back_bit_for_bit(model: Llama, tmp_path: Path) -> None:
    llama.save(model, tmp_path)
    read = llama.load(tmp_path)
    assert read.shape == model.shape
    assert torch.equal(read.flat, model.flat)


def test_what_transformers_saves_is_read_too(tmp_path: Path) -> None:
    model = Llama.fresh(SHAPES["grouped queries"], seed=0)
    again = tmp_path / "again"
    opened(model, tmp_path).save_pretrained(again)
    read = llama.load(again)
    assert read.shape == model.shape
    assert torch.equal(read.flat, model.flat)


def test_weights_depend_on_the_seed_alone() -> None:
    shape = SHAPES["quickstart"]
    first = Llama.fresh(shape, seed=5)
    torch.manual_seed(99)
    assert torch.equal(first.flat, Llama.fresh(shape, seed=5).flat)
    assert not torch.equal(first.flat, Llama.fresh(shape, seed=6).flat)


def test_the_quickstart_network_has_56_thousand_parameters() -> None:
    assert Llama.size(SHAPES["quickstart"]) == 56_352


def test_a_weight_of_another_shape_is_named() -> None:
    model = Llama.fresh(SHAPES["quickstart"], seed=0)
    state = model.hf_state()
    state["model.norm.weight"] = torch.ones(3)
    with pytest.raises(ValueError, match=r"model\.norm\.weight: expected \(48,\) for Shape.*got \(3,\)"):
        Llama.from_hf_state(model.shape, state)
    del state["model.norm.weight"]
    with pytest.raises(ValueError, match=r"model\.norm\.weight: .* got nothing"):
        Llama.from_hf_state(model.shape, state)
