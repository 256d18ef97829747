"""A held image stands beside the rollout: what it stops, what it does not stop, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from controlplane.domain.holding import hold, let_go, propose_anew, turn_down
from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.releases import Release, ReleaseState
from controlplane.domain.rollout import Rollout
from controlplane.domain.service_view import Deployment, RunningTask, ServiceView
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.rolling import settle

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
V1, V2, V3 = ("sha256:" + letter * 64 for letter in "123")
FINAL = {"SERVING", "RETIRED", "FAILED", "ROLLED_BACK"}


def seen(release: Release, *, rollout: str = "COMPLETED") -> ServiceView:
    assert release.deployment
    primary = Deployment(release.deployment, release.carried, True, rollout, "it broke")
    image = release.image or "sha256:placeholder"
    tasks = (RunningTask(f"t{number}", "", image, Proof(Verdict.AGREES)) for number in range(2))
    return ServiceView((primary,), tuple(tasks), 2)


def roll(rollout: Rollout) -> Rollout:
    started, release = rollout.start(NOON)
    assert release and release.state is ReleaseState.ROLLING
    return started.deploying(f"d{release.number}")


def serve(rollout: Rollout) -> Rollout:
    assert rollout.rolling
    return settle(rollout, seen(rollout.rolling), NOON)[0]


def serving(image: str = V1, model: str = "m1") -> Rollout:
    return serve(roll(Rollout().propose("first", NOON, image=image, model=model)[0]))


def held(rollout: Rollout, image: str = V2) -> Rollout:
    return hold(rollout, f"push {image} v", NOON, image=image, why="waits")[0]


def number(rollout: Rollout) -> int:
    assert rollout.held
    return rollout.held.number


def go(rollout: Rollout) -> Rollout:
    return let_go(rollout, number(rollout), NOON, why="clean")[0]


def what(release: Release | None) -> tuple[str | None, str | None]:
    assert release
    return release.image, release.model


def told(changed: list[Release]) -> list[tuple[int, str]]:
    return [(release.number, release.state.value) for release in changed]


class TestHolding:
    def test_a_held_image_does_not_roll(self) -> None:
        rollout, changed = hold(serving(), "push x", NOON, image=V2, why="waits")
        assert told(changed) == [(2, "HELD")]
        assert rollout.start(NOON) == (rollout, None)

    def test_the_same_push_twice_is_held_once(self) -> None:
        rollout = held(serving())
        assert hold(rollout, f"push {V2} v", NOON, image=V2, why="waits") == (rollout, [])

    def test_an_image_that_serves_already_is_not_held(self) -> None:
        rollout, changed = hold(serving(), "push again", NOON, image=V1, why="waits")
        assert (rollout.held, rollout.waiting, changed) == (None, None, [])

    def test_a_newer_push_takes_its_place(self) -> None:
        rollout, changed = hold(held(serving()), "push y", NOON, image=V3, why="waits")
        assert told(changed) == [(2, "RETIRED"), (3, "HELD")]
        assert "another image took its place" in changed[0].reason
        assert what(rollout.held) == (V3, None)

    def test_a_newer_image_that_needs_no_verdict_takes_its_place(self) -> None:
        rollout, changed = held(serving()).propose("person", NOON, image=V3, model="m1")
        assert told(changed) == [(2, "RETIRED"), (3, "PENDING")]
        assert rollout.held is None

    def test_going_back_to_what_serves_takes_its_place(self) -> None:
        rollout, changed = held(serving()).propose("person", NOON, image=V1, model="m1")
        assert (rollout.held, rollout.waiting, told(changed)) == (None, None, [(2, "RETIRED")])

    def test_an_alarm_that_goes_back_says_nothing_of_a_push_that_came_since(self) -> None:
        rollout, _ = held(serving()).propose("alarm errors", NOON, image=V3, model="m0")
        assert what(rollout.held) == (V2, None)

    def test_a_refused_push_leaves_it(self) -> None:
        rollout, _ = held(serving()).refuse("push z", NOON, image=V3, why="linux/arm64")
        assert rollout.held


class TestWhileAnImageIsHeld:
    def test_a_model_rolls_with_the_image_that_serves(self) -> None:
        rollout = roll(held(serving()).propose("model m2", NOON, model="m2")[0])
        assert what(rollout.rolling) == (V1, "m2")
        assert rollout.held

    def test_a_model_before_any_image_does_not_take_the_held_one(self) -> None:
        rollout, changed = held(Rollout()).propose("model m1", NOON, model="m1")
        assert (rollout.waiting, changed) == (None, [])
        assert what(roll(go(rollout)).rolling) == (V2, "m1")

    def test_what_waits_rolls(self) -> None:
        rolling = roll(serving().propose("a", NOON, image=V3)[0])
        rollout = held(rolling.propose("model m2", NOON, model="m2")[0], V2)
        assert what(roll(serve(rollout)).rolling) == (V3, "m2")


class TestLettingGo:
    def test_it_rolls_with_the_model_that_serves_by_then(self) -> None:
        with_model = serve(roll(held(serving()).propose("model m2", NOON, model="m2")[0]))
        assert what(roll(go(with_model)).rolling) == (V2, "m2")

    def test_it_waits_for_its_turn(self) -> None:
        rollout = go(held(roll(serving().propose("a", NOON, image=V3)[0])))
        assert (what(rollout.rolling)[0], what(rollout.waiting)[0]) == (V3, V2)

    def test_it_takes_the_place_and_the_model_of_what_waits(self) -> None:
        rolling = roll(serving().propose("a", NOON, image=V3)[0])
        rollout = held(rolling.propose("model m2", NOON, model="m2")[0])
        free, changed = let_go(rollout, number(rollout), NOON, why="clean")
        assert [state for _, state in told(changed)] == ["RETIRED", "PENDING"]
        assert what(free.waiting) == (V2, "m2")

    def test_another_number_changes_nothing(self) -> None:
        rollout = held(serving())
        assert let_go(rollout, 1, NOON, why="x") == (rollout, [])
        assert turn_down(rollout, 1, NOON, why="x") == (rollout, [])

    def test_twice_is_once(self) -> None:
        rollout = held(serving())
        free = go(rollout)
        assert let_go(free, number(rollout), NOON, why="x") == (free, [])

    def test_what_a_person_let_go_is_marked(self) -> None:
        rollout = held(serving())
        free, _ = let_go(rollout, number(rollout), NOON, why="urgent", by_person=True)
        assert free.waiting and free.waiting.overridden


def test_what_is_turned_down_fails_and_never_rolls() -> None:
    rollout, changed = turn_down(held(serving()), 2, NOON, why="CVE-1")
    assert [(release.state, release.reason) for release in changed] == [(ReleaseState.FAILED, "CVE-1")]
    assert (rollout.held, rollout.start(NOON)) == (None, (rollout, None))
    assert what(roll(rollout.propose("model m2", NOON, model="m2")[0]).rolling) == (V1, "m2")


def test_what_was_turned_down_rolls_anew_when_a_person_says_so_and_twice_told_is_once() -> None:
    rollout, [refused] = turn_down(held(serving()), 2, NOON, why="CVE-1")
    assert refused.refused_by_scan
    free, changed = propose_anew(rollout, refused, "decision 1", NOON, why="ada: urgent")
    assert [(release.number, release.state, release.overridden) for release in changed] == [
        (3, ReleaseState.PENDING, True)
    ]
    assert what(roll(free).rolling) == (V2, "m1")
    assert propose_anew(free, refused, "decision 1", NOON, why="ada: urgent") == (free, [])


@dataclass
class Story:
    """Everything that happened, and what may never happen."""

    rollout: Rollout = field(default_factory=Rollout)
    releases: dict[int, Release] = field(default_factory=dict)
    allowed: set[str] = field(default_factory=set)
    turned_down: set[int] = field(default_factory=set)
    pushes: int = 0

    def after(self, changed: tuple[Rollout, list[Release]]) -> None:
        self.rollout, releases = changed
        self.releases.update({release.number: release for release in releases})

    def do(self, action: str, choice: int) -> None:
        self.pushes += 1
        image, model, rollout = f"sha256:{choice}", f"m{choice}", self.rollout
        match action:
            case "push":
                self.after(hold(rollout, f"push {image} v{self.pushes}", NOON, image=image, why="waits"))
            case "model":
                self.after(rollout.propose(f"model {model}", NOON, model=model))
            case "clean" if rollout.held and rollout.held.image:
                self.allowed.add(rollout.held.image)
                self.after(let_go(rollout, rollout.held.number, NOON, why="clean"))
            case "refused" if rollout.held:
                self.turned_down.add(rollout.held.number)
                self.after(turn_down(rollout, rollout.held.number, NOON, why="CVE-1"))
            case "override" if rollout.held and rollout.held.image:
                self.allowed.add(rollout.held.image)
                self.after(let_go(rollout, rollout.held.number, NOON, why="urgent", by_person=True))
            case "anew" if self.turned_down:
                refused = self.releases[sorted(self.turned_down)[choice % len(self.turned_down)]]
                assert refused.image
                self.allowed.add(refused.image)
                self.after(propose_anew(rollout, refused, f"decision {self.pushes}", NOON, why="urgent"))
            case "person" if rollout.serving and rollout.previous:
                back = rollout.previous
                cause = f"decision {self.pushes}"
                self.after(rollout.propose(cause, NOON, image=back.image, model=back.model, takes_back=1))
            case "back" if rollout.previous and not rollout.rolling:
                back = rollout.previous
                self.after(rollout.propose(f"alarm {self.pushes}", NOON, image=back.image, model=back.model))
            case "serves" | "falls" if rollout.target:
                state = "COMPLETED" if action == "serves" else "FAILED"
                self.after(settle(rollout, seen(rollout.target, rollout=state), NOON))
        self.start()

    def start(self) -> None:
        """As the flows do after every change."""
        if self.rollout.going_back and self.rollout.going_back.deployment is None:
            self.rollout = self.rollout.deploying(f"b{self.pushes}")
        started, release = self.rollout.start(NOON)
        if release:
            self.after((started, [release]))
            if self.rollout.rolling:
                self.rollout = self.rollout.deploying(f"d{release.number}")
                self.releases[release.number] = self.rollout.rolling or release

    def holds(self) -> None:
        rolling = [release for release in self.releases.values() if release.state is ReleaseState.ROLLING]
        assert len(rolling) <= 1, "two roll"
        held = [release for release in self.releases.values() if release.state is ReleaseState.HELD]
        assert held == ([self.rollout.held] if self.rollout.held else []), "one is held, and the ledger knows it"
        for release in rolling:
            assert release.image in self.allowed, "an image rolls that nothing let go"
            assert release.number not in self.turned_down
        assert all(self.releases[number].state is ReleaseState.FAILED for number in self.turned_down)


ACTIONS = ["push", "model", "clean", "refused", "override", "anew", "person", "back", "serves", "falls"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 4)), max_size=40))
def test_in_any_order_one_rolls_every_release_ends_and_a_refused_image_rolls_only_if_a_person_says_so(
    steps: list[tuple[str, int]],
) -> None:
    story = Story()
    for action, choice in steps:
        story.do(action, choice)
        story.holds()
    for _ in range(5):
        story.do("clean", 0)
        story.do("serves", 0)
        story.holds()
    assert {release.state.value for release in story.releases.values()} <= FINAL
    assert (story.rollout.held, story.rollout.waiting, story.rollout.rolling) == (None, None, None)
