"""tidegate.yaml: what it may say, and the sentence that refuses anything else."""

from __future__ import annotations

import json

import pytest
from controlplane.domain.config import LARGEST, BadConfig, Config, accepted, is_config

STACK = Config(recipe="linear", encoder="encoders/minilm/", max_data_shift=0.5)


def said(**told: object) -> str:
    return accepted(json.dumps(told).encode(), json.loads)


@pytest.mark.parametrize("key", ["raw/tidegate.yaml", "raw/films/tidegate.yaml", "raw/Größe & Co/tidegate.yaml"])
def test_it_lies_directly_in_the_datasets_folder(key: str) -> None:
    assert is_config(key)


@pytest.mark.parametrize(
    "key", ["raw/films/old/tidegate.yaml", "raw/tidegate.yml", "raw/my-tidegate.yaml", "raw/films/tidegate.yaml.csv"]
)
def test_no_other_file_is_one(key: str) -> None:
    assert not is_config(key)


def test_what_it_says_counts_instead_of_the_stacks_parameters() -> None:
    config = STACK.overridden(said(recipe="transformer", text_column="comment", max_data_shift=1, knobs={"passes": 3}))
    assert config == Config("transformer", {"passes": 3}, "encoders/minilm/", "comment", None, 0.05, 1)


def test_without_one_the_stacks_parameters_count() -> None:
    assert STACK.overridden(None) == STACK.overridden(accepted(b"null", json.loads)) == STACK


def test_the_encoder_is_a_knob_of_recipes_that_tune_one() -> None:
    assert STACK.all_knobs == {}
    assert STACK.overridden(said(recipe="transformer")).all_knobs == {"encoder": "encoders/minilm/"}
    own = said(recipe="transformer", knobs={"encoder": "encoders/e5/"})
    assert STACK.overridden(own).all_knobs == {"encoder": "encoders/e5/"}


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadConfig) as told:
        said(recipie="linear")
    assert str(told.value) == (
        'Nobody knows the key "recipie". Known are recipe, knobs, encoder, text_column, label_column, '
        "max_rejected_share, max_data_shift."
    )


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("recipe", "bayes", "one of linear, transformer"),
        ("recipe", 3, "a recipe's name"),
        ("knobs", ["passes"], "a list of `knob: value` lines"),
        ("knobs", {"passes": {"deep": 1}}, "a list of `knob: value` lines"),
        ("knobs", {"passes": float("nan")}, "a list of `knob: value` lines"),
        ("encoder", "s3://another/bucket/", "a key prefix"),
        ("encoder", "encoders/../raw/", "a key prefix"),
        ("text_column", "", "the name of a column"),
        ("label_column", 7, "the name of a column"),
        ("max_rejected_share", 5, "a number from 0 to 1"),
        ("max_rejected_share", True, "a number from 0 to 1"),
        ("max_data_shift", "half", "a number from 0 to 1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_what_is_wanted(key: str, value: object, wanted: str) -> None:
    with pytest.raises(BadConfig, match=f"{key} has to be {wanted}"):
        said(**{key: value})


def test_a_trainer_image_may_know_other_recipes() -> None:
    assert accepted(b'{"recipe": "bayes"}', json.loads, recipes=None) == '{"recipe": "bayes"}'


@pytest.mark.parametrize("content", [b"[1, 2]", b'"linear"', b"7"])
def test_it_is_a_mapping(content: bytes) -> None:
    with pytest.raises(BadConfig, match="a list of `key: value` lines"):
        accepted(content, json.loads)


def test_what_cannot_be_read_says_why() -> None:
    with pytest.raises(BadConfig, match="It is not YAML: Expecting"):
        accepted(b"{", json.loads)


def test_it_has_a_size_that_a_person_can_write() -> None:
    with pytest.raises(BadConfig, match="larger than 64 KiB"):
        accepted(b" " * (LARGEST + 1), json.loads)


def test_the_order_of_its_lines_does_not_count() -> None:
    assert said(recipe="linear", text_column="t") == said(text_column="t", recipe="linear")
