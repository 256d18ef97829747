"""The recipe `transformer` on several processes, as torchrun starts them: one model, whoever computes which rows."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from tests.trainer.test_recipe_transformer import ENCODER, no_store, tokens
from trainer.encoder_files import bring
from trainer.transformer_fit import Fit
from trainer.transformer_knobs import Knobs
from trainer.transformer_rows import Task

KNOBS = {"epochs": 2, "batch_rows": 8, "steps": 2, "threads": 1, "dropout": 0, "encoder_rate": 1e-3}


def noiseless_encoder(folder: Path) -> None:
    """A random one of two thin layers, without dropout: whoever computes a row gets the same."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    thin = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(**thin, hidden_dropout_prob=0, attention_probs_dropout_prob=0)).save_pretrained(folder)
    shutil.copy(ENCODER / "tokenizer.json", folder)


def new_fit(folder: Path, rank: int = 0) -> Fit:
    files = bring(no_store(), str(folder / "encoder"), folder / "unused")
    train, validation = (
        tokens(folder / f"{name}-{rank}", rows, seed) for name, rows, seed in (("a", 49, 1), ("b", 21, 2))
    )
    return Fit(Task(files, 3, 17, train, validation), Knobs.of(KNOBS))


def finish(fit: Fit) -> dict[str, Any]:
    while not fit.finished:
        fit.advance()
    return {"losses": fit.losses, "weights": {name: each.clone() for name, each in fit.model.trained().items()}}


def one_of_two(rank: int, folder: Path) -> None:
    """Train; then train again, and go on in the middle from what the first process saved."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    own = folder / f"rank-{rank}"
    whole = finish(new_fit(folder, rank))
    fit = new_fit(folder, rank)
    for _ in range(5):
        fit.advance()
    if rank == 0:
        torch.save(fit.state_dict(), folder / "state.pt")
    distributed.barrier()
    resumed = new_fit(folder, rank)
    resumed.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    torch.save({"whole": whole, "resumed": finish(resumed)}, own)
    distributed.destroy_process_group()


@pytest.mark.resume
def test_two_processes_make_one_model_the_same_as_one_and_resume_bit_for_bit(tmp_path: Path) -> None:
    noiseless_encoder(tmp_path / "encoder")
    torch.set_num_threads(1)
    alone = finish(new_fit(tmp_path))
    context = multiprocessing.get_context("forkserver")  # what is heavy to load is loaded once
    context.set_forkserver_preload(["tests.trainer.test_several_processes"])
    processes = [context.Process(target=one_of_two, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    first, second = (torch.load(tmp_path / f"rank-{rank}", weights_only=True) for rank in range(2))
    for one in (first["resumed"], second["whole"], second["resumed"]):
        assert one["losses"] == first["whole"]["losses"]
        assert all(torch.equal(one["weights"][name], each) for name, each in first["whole"]["weights"].items())
    assert [name for name, *_ in alone["losses"]] == ["training", "validation"] * 2
    for ours, theirs in zip(alone["losses"], first["whole"]["losses"], strict=True):
        assert theirs[:2] == ours[:2] and theirs[2] == pytest.approx(ours[2], abs=1e-4)
