"""The network of the recipe `transformer`, and its files as the contract `model_files` wants them of kind `tokens`."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from tokenizers import Tokenizer

from trainer.encoder_files import EncoderFiles
from trainer.export import OPSET, write_json
from trainer.features import STRIP_PATTERN
from trainer.model_files import pad_tokens

AGREE_WITHIN = 1e-4


class Classifier(torch.nn.Module):
    """The encoder, its tokens' mean or its first one, dropout, a linear head."""

    def __init__(self, encoder: torch.nn.Module, classes: int, pooling: str, dropout: float) -> None:
        super().__init__()
        self.encoder, self._pooling = encoder, pooling
        if isinstance(unused := getattr(encoder, "pooler", None), torch.nn.Module):
            unused.requires_grad_(False)
        self.dropout = torch.nn.Dropout(dropout)
        self.head = torch.nn.Linear(int(encoder.config.hidden_size), classes)  # type: ignore[union-attr,arg-type]
        torch.nn.init.normal_(self.head.weight, std=0.02)

    def begin_at(self, shares: npt.NDArray[np.float64]) -> None:
        """Before it has learnt anything it answers with the shares of the classes."""
        with torch.no_grad():
            self.head.bias.copy_(torch.from_numpy(np.log(shares.clip(1e-9))))

    def freeze(self, layers: int) -> None:
        """The embeddings and the lowest layers learn no more; -1: the whole encoder."""
        if layers == 0:
            return
        stacks = [each for each in self.encoder.modules() if isinstance(each, torch.nn.ModuleList)]
        stack = max(stacks, key=len, default=torch.nn.ModuleList())
        learning = [] if layers < 0 else list(stack[layers:])
        self.encoder.requires_grad_(False)
        for layer in learning:
            layer.requires_grad_(True)

    def train_mode(self) -> None:
        self.train()
        if not any(each.requires_grad for each in self.encoder.parameters()):
            self.encoder.eval()  # what does not learn needs no noise

    def learning(self) -> list[torch.nn.Parameter]:
        return [each for each in self.parameters() if each.requires_grad]

    def trained(self) -> dict[str, torch.Tensor]:
        """The weights that learn; the others are those of the encoder's files."""
        return {name: each.detach() for name, each in self.named_parameters() if each.requires_grad}

    def take(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, each in self.named_parameters():
                if each.requires_grad:
                    each.copy_(weights[name])

    def groups(self, encoder_rate: float, head_rate: float, decay: float) -> list[dict[str, Any]]:
        """For the optimizer: encoder and head, each with and without weight decay."""
        made: list[dict[str, Any]] = []
        for part, rate in ((self.encoder, encoder_rate), (self.head, head_rate)):
            learning = [each for each in part.parameters() if each.requires_grad]
            tables, others = [each for each in learning if each.ndim > 1], [each for each in learning if each.ndim <= 1]
            made += [
                {"params": some, "lr": rate, "weight_decay": decayed}
                for some, decayed in ((tables, decay), (others, 0.0))
                if some
            ]
        return made

    def calibrated(self, log_weights: torch.Tensor, temperature: float) -> Self:
        """With what the loss's weights and overconfidence did taken out again, in the head itself."""
        with torch.no_grad():
            self.head.bias.sub_(log_weights)
            self.head.weight.div_(temperature)
            self.head.bias.div_(temperature)
        return self.eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self._pooling == "cls":
            pooled = hidden[:, 0]
        else:
            real = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * real).sum(1) / real.sum(1).clamp(min=1)
        logits: torch.Tensor = self.head(self.dropout(pooled))
        return logits


class _Answering(torch.nn.Module):
    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.classifier(input_ids, attention_mask).softmax(-1)  # type: ignore[no-any-return]


def cutting(tokenizer: Tokenizer, max_tokens: int) -> Tokenizer:
    """As every reader of the model must set it."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def write_model(
    folder: Path,
    classifier: Classifier,
    files: EncoderFiles,
    labels: list[str],
    max_tokens: int,
    some: list[npt.NDArray[np.int32]],
) -> None:
    """model.onnx, model.pt, tokenizer.json, features.json and labels.json; `some` rows must come out of both alike."""
    torch.save(classifier.trained(), folder / "model.pt")  # the rest is the encoder's own file
    answering = _Answering(classifier).eval()
    path = folder / "model.onnx"
    _to_onnx(answering, path, files.padding)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for rows in (some, some[:1], some[-1:]):
        fed = pad_tokens(rows, files.padding)
        with torch.no_grad():
            ours = answering(*(torch.from_numpy(fed[name]) for name in ("input_ids", "attention_mask"))).numpy()
        off = float(np.abs(session.run(["probabilities"], fed)[0] - ours).max())
        if not off <= AGREE_WITHIN:
            raise AssertionError(f"model.onnx differs from the network by {off:.6f}")
    (folder / "tokenizer.json").write_text(cutting(files.tokenizer(), max_tokens).to_str(), encoding="utf-8")
    write_json(
        folder / "features.json",
        {"kind": "tokens", "strip_pattern": STRIP_PATTERN, "max_tokens": max_tokens, "padding_id": files.padding},
    )
    write_json(folder / "labels.json", labels)


def _to_onnx(answering: torch.nn.Module, path: Path, padding: int) -> None:
    fed = pad_tokens([np.array([padding + 1] * 7), np.array([padding + 1] * 4)], padding)
    example = tuple(torch.from_numpy(fed[name]) for name in ("input_ids", "attention_mask"))
    both = {0: "rows", 1: "width"}
    quiet = logging.getLogger("torch.onnx")
    with warnings.catch_warnings():
        # The exporter by tracing: five times faster than its successor, and what it warns of is checked afterwards.
        warnings.simplefilter("ignore")
        quiet.setLevel(logging.ERROR)
        torch.onnx.export(
            answering,
            example,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=["probabilities"],
            dynamic_axes={"input_ids": both, "attention_mask": both, "probabilities": {0: "rows"}},
        )
    onnx.checker.check_model(str(path))
