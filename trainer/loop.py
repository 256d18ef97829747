"""The fit, step by step, to its end or to the machine's: the same for every recipe.

Between two steps it looks whether the machine is going away or a limit is reached (then it saves, and ends), and
whether a checkpoint is due (then it goes on at once, and the checkpoint is made beside it). How the run is cut into
attempts changes nothing in the weights: what a step depends on is in the checkpoint, random state included.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict
from typing import Any

import torch

from trainer.checkpoint import Cadence, Checkpoints
from trainer.recipe import Fit, LoopKnobs, Recipe, Work
from trainer.team import hear
from trainer.uncompiled import leave_out_the_compiler


def make_repeatable(seed: int, threads: int) -> None:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, which loads the compiler
    leave_out_the_compiler()


def run_fit(
    recipe: Recipe, task: Any, knobs: LoopKnobs, run_id: str, identity: str, work: Work
) -> tuple[Fit, list[int]]:
    """The finished fit, and the steps that its attempts went on from.

    Raises Interrupted or Stopped once the checkpoint is complete.
    """
    journal, watch, team, seed = work.journal, work.watch, work.team, torch.initial_seed()
    cadence = Cadence(knobs.hours_between_interruptions * 3600, knobs.save_every_s, journal.say)
    checkpoints = Checkpoints(work.store, journal, run_id, identity, {"knobs": asdict(knobs)}, cadence)
    fit, resumed = recipe.new_fit(task, knobs), list[int]()
    if saved := checkpoints.latest():
        resumed = [*saved.state["resumed"], saved.step]
        fit.load_state_dict(saved.state["fit"])
        restore_random_state(saved.state["random"])
        journal.say(f"resumed from the checkpoint of step {saved.step}")
    if not getattr(recipe, "TOGETHER", False):
        team.dismiss()
    team.tell((recipe.__name__, task, knobs, seed, saved.state["fit"] if saved else None))  # type: ignore[attr-defined]
    journal.phase("training", "steps")
    saved_at = watch.seconds
    while not fit.finished:
        if watch.end():
            team.dismiss()
            checkpoints.save(fit.step, fit.best, state_of(fit, resumed))
            watch.end_if_told(f"saved step {fit.step}")
        if watch.seconds - saved_at >= cadence.every_s and not checkpoints.busy:
            checkpoints.begin(fit.step, fit.best, state_of(fit, resumed))
            saved_at = watch.seconds
        team.tell(True)
        fit.advance()
        journal.step(fit.step, fit.share_done, fit.remark)
    team.dismiss()
    checkpoints.save(fit.step, fit.best, state_of(fit, resumed))  # the evaluation may be interrupted too
    best = "" if fit.best is None else f"; best validation loss {fit.best:.4f}"
    journal.say(f"fitted in {fit.step} steps{best}")
    return fit, resumed


def follow() -> None:
    """What every other process of a team does: the same steps, as often as rank 0 says."""
    order = hear()
    if order is None:
        return
    recipe, task, knobs, seed, state = order
    make_repeatable(seed, knobs.threads)
    fit: Fit = importlib.import_module(recipe).new_fit(task, knobs)
    if state is not None:
        fit.load_state_dict(state)
    while hear():
        fit.advance()


def state_of(fit: Fit, resumed: list[int]) -> dict[str, Any]:
    return {"fit": fit.state_dict(), "random": random_state(), "resumed": resumed}


def random_state() -> list[torch.Tensor]:
    """Torch's generators: the CPU's, then those of the GPUs."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def restore_random_state(state: list[torch.Tensor]) -> None:
    torch.set_rng_state(state[0])
    if torch.cuda.is_available() and len(state) == 1 + torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state[1:])
