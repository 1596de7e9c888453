"""Hugging Face checkpoints and adapters, read and written, with errors that say what to do."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftloop.generators.models.wording import Wording

if TYPE_CHECKING:
    from driftloop.generators.models.causal_lm import CausalLM, Lora

NEEDED = "model causal_lm needs transformers and peft; run: pip install 'driftloop[llm]'"


def place(settings: CausalLM) -> tuple[str, str]:
    """Device and number format: bfloat16 on a GPU, float32 on a CPU, unless the settings say otherwise."""
    import torch

    gpu = torch.cuda.is_available()
    if not gpu:
        torch.set_num_threads(settings.threads)
    dtype = settings.dtype if settings.dtype != "auto" else "bfloat16" if gpu else "float32"
    return "cuda" if gpu else "cpu", dtype


def check(settings: CausalLM) -> None:
    """The model is there, has a tokenizer, and its context is enough.

    Raises:
        ValueError: it is not so.
    """
    wording(settings)
    most = getattr(_config(settings.name), "max_position_embeddings", None)
    if most is not None and settings.context > most:
        raise ValueError(
            f"model.context={settings.context} is more than the {most} positions of {settings.name}; lower it"
        )


def wording(settings: CausalLM) -> Wording:
    """The model's tokenizer, with its chat template where the settings allow it and it has one."""
    tokenizer, ends = _tokenizer(settings.name)
    return Wording(tokenizer, chat=settings.chat == "auto" and bool(tokenizer.chat_template), ends=ends)


def network(settings: CausalLM, weights: dict[str, Any] | None, *, train: bool = False, seed: int = 0) -> Any:
    """The base with these weights on its device; for training with a new adapter where there is none yet.

    Args:
        weights: of an adapter or of the whole network; None = the base alone.
        train: gradients are wanted; all weights are then float32, but for the base of an adapter.
        seed: of a new adapter.

    Raises:
        ValueError: no such model.
        OutOfMemory: the device is full.
    """
    import torch

    from driftloop.generators.engines.hugging_face import enough_memory

    device, dtype = place(settings)
    whole = train and settings.lora is None
    with enough_memory("loading the model: take a smaller one, or a device with more memory"):
        read = _read(settings.name, torch.float32 if whole else getattr(torch, dtype))
        if settings.lora is None:
            if weights is not None:
                read.load_state_dict(weights, strict=False)
        elif weights is not None or train:
            read = _adapted(read, settings.lora, weights, train=train, seed=seed)
        return read.to(device)


def changed(settings: CausalLM, trained: Any) -> dict[str, Any]:
    """The weights that `network` needs to make the trained network again, on the CPU."""
    state = trained.state_dict()
    if settings.lora:
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(trained)
    tied = set(trained._tied_weights_keys or ()) if trained.config.tie_word_embeddings else set()
    return {name: w.detach().cpu().clone() for name, w in state.items() if name not in tied}


def write(settings: CausalLM, weights: dict[str, Any], folder: Path) -> None:
    """An adapter in PEFT's layout, or a whole checkpoint with its tokenizer: both open in vLLM unconverted."""
    from safetensors.torch import save_file

    if settings.lora:
        _adapter_config(settings.lora, settings.name).save_pretrained(str(folder))
        save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        return
    _config(settings.name).save_pretrained(str(folder))
    _tokenizer(settings.name)[0].save_pretrained(str(folder))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _adapted(read: Any, lora: Lora, weights: dict[str, Any] | None, *, train: bool, seed: int) -> Any:
    import torch
    from peft import get_peft_model, set_peft_model_state_dict

    with (
        torch.random.fork_rng(),
        warnings.catch_warnings(),
    ):  # PEFT draws a new adapter from the global stream
        warnings.simplefilter("ignore", FutureWarning)  # and asks transformers by names that will go
        torch.manual_seed(seed)
        adapted = get_peft_model(read, _adapter_config(lora, None))
    if weights is not None:
        set_peft_model_state_dict(adapted, weights)
    adapted.requires_grad_(False)
    for name, weight in adapted.named_parameters():
        weight.requires_grad_(train and "lora_" in name)
    return adapted


def _adapter_config(lora: Lora, base: str | None) -> Any:
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError(NEEDED) from error
    how = {
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": list(lora.targets),
        "lora_dropout": 0.0,
    }
    return LoraConfig(**how, base_model_name_or_path=base, task_type="CAUSAL_LM")


def _read(name: str, dtype: Any) -> Any:
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise ImportError(NEEDED) from error
    disable_progress_bar()  # the board shows what goes on
    try:
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError) as error:
        raise unknown(name, error) from error


@lru_cache(maxsize=4)
def _config(name: str) -> Any:
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise ImportError(NEEDED) from error
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise unknown(name, error) from error


@lru_cache(maxsize=4)
def _tokenizer(name: str) -> tuple[Any, tuple[int, ...]]:
    """The tokenizer, and the tokens besides its end mark that end a response."""
    config = _config(name)
    from transformers import AutoTokenizer, GenerationConfig

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model.name={name!r} has no tokenizer that transformers can read ({first_line(error)}); put tokenizer.json and "
            "tokenizer_config.json beside its weights"
        ) from error
    try:
        ends = GenerationConfig.from_pretrained(name).eos_token_id
    except OSError:
        ends = config.eos_token_id
    return tokenizer, tuple(ends) if isinstance(ends, list) else (ends,) if ends is not None else ()


def unknown(name: str, error: Exception) -> ValueError:
    """What a model that cannot be read is told as."""
    if Path(name).is_dir():
        return ValueError(
            f"model.name={name!r} is a folder that transformers cannot read ({first_line(error)}); it needs config.json and "
            "model.safetensors of a causal language model"
        )
    return ValueError(
        f"model.name={name!r} is no folder here and no model that the hub gives ({first_line(error)}); give a folder with "
        "config.json, or an id such as HuggingFaceTB/SmolLM2-135M-Instruct and a network"
    )


def first_line(error: Exception) -> str:
    """The beginning of a long message."""
    return str(error).strip().split("\n", 1)[0][:200]
