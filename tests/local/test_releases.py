"""What a person is told after a push, and of what serves."""

from __future__ import annotations

import pytest
from controlplane.domain.images import Push

from local.images import PushRefused, must_be_a_tag
from local.releases import standing, what_follows

DIGEST = "sha256:" + "a" * 64
GIVEN = {"DeployTagPattern": "v.+|[0-9a-f]{40}", "ScanPolicy": "wait"}
URL = "http://lb.localhost:1"


def test_a_push_is_held_for_its_scan_and_one_is_told_where_to_look() -> None:
    told = what_follows(Push("r", DIGEST, "v1"), GIVEN, URL)
    assert told.startswith("It is held for its scan") and "make inbox" in told and f"{URL}/version" in told


@pytest.mark.parametrize("policy", ["report", "off"])
def test_where_no_scan_is_waited_for_it_rolls_out(policy: str) -> None:
    assert what_follows(Push("r", DIGEST, "v1"), {**GIVEN, "ScanPolicy": policy}, URL).startswith("It rolls out.")


@pytest.mark.parametrize("tag", ["latest", "1.0", "xv1"])
def test_a_tag_that_is_not_deployed_is_told_with_the_pattern(tag: str) -> None:
    told = what_follows(Push("r", DIGEST, tag), GIVEN, URL)
    assert told.startswith(f"It will not be deployed: tag {tag} does not match v.+|[0-9a-f]{{40}}")


def test_of_a_stack_that_deploys_no_images_nothing_is_told() -> None:
    assert what_follows(Push("r", DIGEST, "v1"), {}, URL) == ""


@pytest.mark.parametrize("tag", ["bad/tag", "", "-v1", ".v1", "a:b", "ä", "v" * 129])
def test_what_no_registry_takes_as_a_tag_is_refused(tag: str) -> None:
    with pytest.raises(PushRefused, match="cannot be a tag"):
        must_be_a_tag(tag)


@pytest.mark.parametrize("tag", ["v1", "V_1.0-rc", "1", "v" * 128])
def test_tags_are_letters_digits_and_three_signs(tag: str) -> None:
    must_be_a_tag(tag)


def test_it_is_told_what_serves_rolls_and_is_held_by_number_image_and_model() -> None:
    other = "sha256:" + "b" * 64
    told = {
        "serving": {"number": 3, "image": DIGEST, "model": "r-1"},
        "rolling": {"number": 4, "image": other, "model": "r-1"},
        "waiting": None,
        "held": {"number": 5, "image": DIGEST, "model": None, "state": "HELD"},
    }
    assert standing(told, {DIGEST: "v2"}) == [
        "serves     release 3: image v2, model r-1",
        "rolls      release 4: image sha256:bbbbbbbbbbbb, model r-1",
        "is held    release 5: image v2, model of what serves",
    ]


def test_until_a_release_serves_the_placeholder_does() -> None:
    assert standing({}, {}) == ["serves     the placeholder"]
    back = {"serving": None, "going_back": {"number": 0, "image": None, "model": None}}
    assert standing(back, {}) == ["serves     the placeholder", "goes back  the placeholder"]
