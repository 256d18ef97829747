"""The demo's interruption: a machine gets its Spot notice in the middle of the fit, and its run goes on elsewhere.

Promise: what is told of it is read from the cloud: the trainer's last word, the model's manifest, the run card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.cloud import Cloud
from local.witness import Item, NotSeen, Teller, Witness

# Said in raw/tidegate.yaml, as anybody may: many penalties are tried, not a few. The demo's data is small, and the
# fit must not be over before the machine hears of its notice, which it asks for every five seconds.
STRENGTHS = [round(1000 * 0.9**number, 2) for number in range(66)]
SETTINGS = f"knobs:\n  l2: {STRENGTHS}\n  tolerance: 0.0001\n  save_every_s: 1\n"
SETTINGS_KEY = "raw/tidegate.yaml"
ENDED_SECONDS = 60.0


@dataclass
class Interruption:
    """Of one run, once. `look` is called with what the run's progress says now."""

    cloud: Cloud
    see: Witness
    say: Teller
    machine: str = ""
    step_then: int = 0
    gone_on_after: float = 0.0
    _at: float = 0.0

    def look(self, run: Item, progress: Item) -> None:
        if progress.get("phase") != "training" or progress.get("unit") != "steps":
            return
        if not self.machine and progress["done"] > 0:
            self.step_then, self._at = progress["done"], self.say.seconds
            self.machine = self.cloud.interrupt(run["run_id"])
            self.say(f"Spot notice announced to {self.machine} at step {self.step_then}, as `make interrupt` does")
        if self.machine and progress["attempt"] > 1 and not self.gone_on_after:
            self.gone_on_after = round(self.say.seconds - self._at, 1)

    def came_of_it(self, run: Item, manifest: Item) -> dict[str, Any]:
        """After the run has ended: what the machine said last, where the next one went on, what was lost."""
        if not self.machine or run["attempt"] < 2:
            raise NotSeen(f"Run {run['run_id']} was to be interrupted in the middle of its fit, and was not.")
        word = self.see.document(f"logs/{run['run_id']}/1/outcome.json")
        resumed = manifest["resumed"]
        lost = None if resumed is None or word["step"] is None else word["step"] - resumed
        self.say(f"the machine's last word: {word['reason']}")
        self.say(
            f"attempt {manifest['attempt']} went on from step {resumed}; {lost} steps were lost, and "
            f"{self.gone_on_after:g} s from the notice until steps were made again"
        )
        return {
            "machine": self.machine, "noticed_at_step": self.step_then, "last_word": word["reason"],
            "saved_step": word["step"], "resumed_from": resumed, "steps_lost": lost,
            "seconds_until_it_went_on": self.gone_on_after, "attempts": manifest["attempt"],
        }  # fmt: skip

    def card(self, run_id: str) -> dict[str, Any]:
        """The run card, when all machines of the run have ended and their bills are known."""
        key = f"runs/{run_id}/card.json"

        def final() -> tuple[dict[str, Any] | None, str]:
            body = self.see.object(key)
            if body is None:
                return None, f"no {key} in the bucket"
            card = self.see.document(key)
            up = [one["machine"] for one in card["attempts"] if one["ended"].startswith("still up")]
            return (None if up else card), f"{', '.join(up)} still up"

        card = self.see.wait("The run card with all bills", ENDED_SECONDS, final)
        for one in card["attempts"]:
            self.say(
                f"attempt {one['attempt']}: {one['type']} {one['lifecycle']} in {one['zone']}, {one['minutes']:g} min, "
                f"{dollars(one['dollars'])}: {one['ended']}"
            )
        self.say(
            f"{len(card['attempts'])} machines, {card['minutes']:g} machine minutes: {dollars(card['dollars'])}; "
            f"on demand the same minutes would have cost {dollars(card['on_demand_dollars'])}"
        )
        return card


def dollars(amount: float | None) -> str:
    return "an unknown amount (no price was told)" if amount is None else f"${amount:.5f}"
