"""A Hugging Face encoder from files alone: brought from the bucket or read from a folder, never from a hub."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from trainer.errors import Failed
from trainer.store import Store

# Before transformers is loaded: what is not in the files is a fault to tell, not a thing to fetch.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

NEEDED = ("config.json", "tokenizer.json", "model.safetensors")
OPTIONAL = ("tokenizer_config.json",)
# A graph with its weights must stay below the 2 GiB that one ONNX file can have.
PARAMETERS_AT_MOST = 450_000_000
HOW = (
    "Save it with transformers: AutoModel.from_pretrained(NAME).save_pretrained(FOLDER) and "
    "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER), then copy FOLDER there"
)


@dataclass(frozen=True)
class EncoderFiles:
    folder: Path
    digest: str  # sha256 of all files: which encoder it is
    config: dict[str, Any]

    @property
    def longest(self) -> int:
        """Of how many tokens the encoder can read at most."""
        positions = int(self.config.get("max_position_embeddings") or 1_000_000)
        if "roberta" in str(self.config.get("model_type")):  # its positions begin behind the padding's number
            positions -= self.padding + 1
        told = self._tokenizer_config().get("model_max_length")
        return min(positions, int(told)) if isinstance(told, int | float) and told > 0 else positions

    @property
    def padding(self) -> int:
        if isinstance(told := self.config.get("pad_token_id"), int) and told >= 0:
            return told
        named = self._tokenizer_config().get("pad_token")
        token = named.get("content") if isinstance(named, dict) else named
        found = self.tokenizer().token_to_id(token) if isinstance(token, str) else None
        return 0 if found is None else int(found)

    def tokenizer(self) -> Tokenizer:
        try:
            return Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        except Exception as fault:  # noqa: BLE001 - the library raises plain Exception
            raise Failed(f"The encoder's tokenizer.json cannot be read ({fault}). {HOW}.") from fault

    def model(self) -> torch.nn.Module:
        """The encoder with its weights, in float32 on the CPU."""
        from transformers import AutoModel  # takes seconds, and only the fit needs it
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            made, loaded = AutoModel.from_pretrained(
                self.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation="eager",  # repeatable on every device, and the exporter knows it
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError) as fault:
            raise Failed(f"The encoder cannot be loaded: {' '.join(str(fault).split())[:300]}. {HOW}.") from fault
        # The pooler is not used, and many files come without it; any other gap would be filled with random numbers.
        if missing := sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler.")):
            raise Failed(
                f"The encoder's model.safetensors is not of the model that config.json describes: {len(missing)} "
                f"weights are missing, {missing[0]} for one. {HOW}."
            )
        size = sum(each.numel() for each in made.parameters())
        if size > PARAMETERS_AT_MOST:
            raise Failed(
                f"The encoder has {size:,} parameters; at most {PARAMETERS_AT_MOST:,} can be served. Use a smaller one."
            )
        model: torch.nn.Module = made
        return model

    def _tokenizer_config(self) -> dict[str, Any]:
        path = self.folder / "tokenizer_config.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def bring(store: Store, where: str, into: Path) -> EncoderFiles:
    """The files at a key prefix of the bucket, or in a folder of this machine (an absolute path). Raises Failed."""
    if not where:
        raise Failed(
            "Recipe 'transformer' needs an encoder: set EncoderPrefix (or 'encoder' in tidegate.yaml, or ENCODER= of "
            f"make train) to where its files lie. {HOW}."
        )
    if where.startswith("/"):
        folder, missing = Path(where), [name for name in NEEDED if not (Path(where) / name).is_file()]
    else:
        folder, missing = into, _download(store, where.rstrip("/") + "/", into)
    if missing:
        raise Failed(f"The encoder at {where} lacks {' and '.join(missing)}. {HOW}.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as fault:
        raise Failed(f"The encoder's config.json at {where} is not JSON. {HOW}.") from fault
    digest = hashlib.sha256()
    for name in (*NEEDED, *OPTIONAL):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return EncoderFiles(folder, digest.hexdigest(), config)


def _download(store: Store, prefix: str, into: Path) -> list[str]:
    """Gives what is missing."""
    into.mkdir()
    missing = []
    for name in (*NEEDED, *OPTIONAL):
        try:
            store.download(prefix + name, into / name)
        except KeyError:
            if name in NEEDED:
                missing.append(name)
    return missing
