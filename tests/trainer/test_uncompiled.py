"""What every attempt would pay for and a linear fit does not use: torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from trainer.loop import make_repeatable

PROGRAM = """
import sys, torch
from trainer.loop import make_repeatable
make_repeatable(1, 1)
weight = torch.nn.Parameter(torch.ones(2))
def loss():
    weight.grad = weight.detach().clone()
    return (weight * weight).sum()
optimizer = torch.optim.LBFGS([weight])
optimizer.step(loss)
torch.optim.LBFGS([weight]).load_state_dict(optimizer.state_dict())
print(weight.tolist(), "torch._dynamo" in sys.modules)
"""


def test_a_linear_fit_and_its_checkpoint_do_not_load_the_compiler() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.stdout.endswith("] False\n") and not done.stdout.startswith("[1.0")


def test_an_algorithm_that_may_come_out_differently_is_refused() -> None:
    make_repeatable(1, 1)
    assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
