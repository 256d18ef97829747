"""The workflows in .github/: pinned, without rights that they do not need, and made of commands that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.architecture.cloudformation import ROOT
from tools.cloudformation import template

FOLDER = ROOT / ".github" / "workflows"
TEXTS = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.yml"))}
# BaseLoader: `on` stays a word.
WORKFLOWS: dict[str, Any] = {name: yaml.load(text, yaml.BaseLoader) for name, text in TEXTS.items()}  # noqa: S506
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PAGE = (ROOT / "docs" / "ci-cd.md").read_text()


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{name}.{job}", told) for name, flow in WORKFLOWS.items() for job, told in flow["jobs"].items()]


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [(name, step) for name, job in jobs() for step in job.get("steps", [])]


def test_there_are_the_three() -> None:
    assert set(WORKFLOWS) == {"test", "deploy", "image"}


def test_they_run_only_make_targets_that_exist() -> None:
    ran = [step["run"] for _, step in steps() if "run" in step]
    assert ran
    for command in ran:
        assert "\n" not in command
        words = re.fullmatch(r"make ([a-z-]+)( [A-Z_]+=\"\$[A-Z_]+\")*", command)
        assert words and words[1] in TARGETS, command


def test_what_they_give_to_make_is_what_the_makefile_reads() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for _, step in steps():
        for name in re.findall(r" ([A-Z_]+)=", step.get("run", "")):
            assert f"$({name})" in makefile or f"$(if $({name})" in makefile, name


def test_no_expression_of_github_stands_in_a_command() -> None:
    assert [name for name, step in steps() if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_action_is_pinned_by_its_whole_commit_and_says_its_version(name: str) -> None:
    for line in TEXTS[name].splitlines():
        if "uses:" in line and "uses: ./" not in line:
            assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_nothing_is_allowed_but_what_a_job_says(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {}
    for job in WORKFLOWS[name]["jobs"].values():
        writing = {scope for scope, access in job["permissions"].items() if access == "write"}
        assert writing <= {"id-token"}
        assert ("id-token" in writing) == ("environment" in job), "only jobs of an environment ask for AWS's trust"


def test_no_checkout_leaves_a_token_behind() -> None:
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts and all(step["with"]["persist-credentials"] == "false" for step in checkouts)


def test_there_is_no_key_and_no_secret() -> None:
    for name, text in TEXTS.items():
        assert not re.search(r"secrets\.|aws-access-key-id|aws-secret-access-key|AKIA", text), name


def test_two_deploys_never_overlap_and_none_is_ended_in_the_middle() -> None:
    for name in ("deploy", "image"):
        told = WORKFLOWS[name]["concurrency"]
        assert told["cancel-in-progress"] == "false"
        assert told["group"] == f"{name}-${{{{ inputs.environment || 'dev' }}}}"


@pytest.mark.parametrize("name", ["deploy", "image"])
def test_nothing_goes_to_aws_before_the_tests_have_passed(name: str) -> None:
    told = WORKFLOWS[name]["jobs"]
    assert told["test"]["uses"] == "./.github/workflows/test.yml"
    for job, what in told.items():
        assert ("environment" in what) == (what.get("needs") == "test"), job
        assert "if" not in what or job == "test", "a job that is skipped skips those that need it"


def test_the_image_is_built_when_it_changed() -> None:
    assert WORKFLOWS["image"]["on"]["push"] == {"branches": ["main"], "paths": ["inference_image/**"]}


def test_a_commits_id_is_a_tag_that_is_deployed() -> None:
    pattern = template()["Parameters"]["DeployTagPattern"]["Default"]
    assert re.fullmatch(pattern, "0" * 40) and re.fullmatch(pattern, "v7")
    assert not re.fullmatch(pattern, "latest") and not re.fullmatch(pattern, "0" * 41)


def test_the_page_tells_of_every_variable_and_output() -> None:
    wanted = {name for text in TEXTS.values() for name in re.findall(r"vars\.([A-Z_]+)", text)}
    assert {name for name in wanted if not re.search(rf"\b{name}\b", PAGE)} == set()
    made = {told["Description"].rpartition(" ")[2] for told in outputs().values()}
    assert wanted - {"AWS_REGION", "DEPLOY_ON_PUSH"} <= made


def outputs() -> dict[str, Any]:
    found: dict[str, Any] = template(ROOT / "pipeline.yaml")["Outputs"]
    return found


def test_the_environments_are_those_of_samconfig() -> None:
    text = (ROOT / "samconfig.toml").read_text()
    for name in ("deploy", "image"):
        for environment in WORKFLOWS[name]["on"]["workflow_dispatch"]["inputs"]["environment"]["options"]:
            assert f'stack_name = "tidegate-{environment}"' in text


def test_the_python_that_deploys_is_that_of_the_functions() -> None:
    [setup] = [
        s for name, s in steps() if name == "deploy.deploy" and s.get("uses", "").startswith("actions/setup-python@")
    ]
    assert "python" + setup["with"]["python-version"] == template()["Parameters"]["PythonRuntime"]["Default"]


def test_the_script_that_pushes_is_there_and_may_be_run() -> None:
    script = ROOT / "tools" / "push_image.sh"
    assert Path(script).stat().st_mode & 0o111
