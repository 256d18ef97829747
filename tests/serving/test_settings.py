"""The environment is read once, and every fault in it is named at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from inference.problems import SettingsFault
from inference.settings import Settings, read


def test_nothing_set_is_a_service_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("12\n")
    assert read({}, tmp_path / "VERSION") == Settings(image_version="12")


def test_empty_variables_are_as_good_as_none(tmp_path: Path) -> None:
    empty = dict.fromkeys(("MODEL_URI", "TIDEGATE_RELEASE", "TIDEGATE_IMAGE", "PORT", "BIND_ADDRESS"), "")
    assert read(empty, tmp_path / "absent") == Settings()


def test_all_variables_of_the_contract_are_read(tmp_path: Path) -> None:
    image = "repository.example/inference@sha256:" + "0f" * 32
    settings = read(
        {
            "MODEL_URI": "s3://bucket/models/default-1/",
            "TIDEGATE_RELEASE": "4",
            "TIDEGATE_IMAGE": image,
            "TIDEGATE_SERVICE": "staging",
            "PORT": "9000",
            "BIND_ADDRESS": "127.77.0.1",
            "METRICS_SECONDS": "2.5",
            "DRAIN_SECONDS": "0",
            "FINISH_SECONDS": "5",
        },
        tmp_path / "absent",
    )
    assert settings == Settings(
        model_uri="s3://bucket/models/default-1/",
        release="4",
        image=image,
        service="staging",
        bind_address="127.77.0.1",
        port=9000,
        metrics_seconds=2.5,
        drain_seconds=0,
        finish_seconds=5,
    )
    assert settings.digest == "sha256:" + "0f" * 32
    assert len(dataclasses.fields(settings)) == 10


def test_an_image_named_by_its_tag_has_no_digest() -> None:
    assert read({"TIDEGATE_IMAGE": "inference:v7"}).digest is None


def test_every_fault_is_named_at_once() -> None:
    wrong = {
        "MODEL_URI": "http://x/y",
        "TIDEGATE_RELEASE": "a\r\nb: c",
        "PORT": "eighty",
        "BIND_ADDRESS": "localhost",
        "DRAIN_SECONDS": "-1",
        "METRICS_SECONDS": "nan",
        "FINISH_SECONDS": "2.5",
    }
    with pytest.raises(SettingsFault) as fault:
        read(wrong)
    for name in wrong:
        assert f"{name} is " in str(fault.value)


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/", "file://relative/x", "models/x", "s3:///models/x/"])
def test_an_address_that_names_no_model_is_refused(uri: str) -> None:
    with pytest.raises(SettingsFault, match="MODEL_URI"):
        read({"MODEL_URI": uri})
