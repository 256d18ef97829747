from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from local.build import fingerprint, make_movable, pack
from local.deploy import LEFT_OUT, minimum_of_tasks, must_be_known, references, shell_name, without_left_out
from local.sam import DeployFault, cause, configured

TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"
POLICY = "AWS::ApplicationAutoScaling::ScalingPolicy"


def template(**more: Any) -> dict[str, Any]:
    return {
        "Parameters": {"MinTasks": {"Default": 2}},
        "Resources": {
            "Service": {"Type": "AWS::ECS::Service"},
            "Target": {"Type": TARGET, "Properties": {"MinCapacity": {"Ref": "MinTasks"}}},
            "Policy": {"Type": POLICY, "Properties": {"ScalingTargetId": {"Ref": "Target"}}},
            **more,
        },
    }


def test_what_the_emulator_refuses_is_left_out_with_its_reason() -> None:
    kept, left_out = without_left_out(template())
    assert list(kept["Resources"]) == ["Service"]
    assert [(entry.resource, entry.type, entry.reason) for entry in left_out] == [
        ("Target", TARGET, LEFT_OUT[TARGET]),
        ("Policy", POLICY, LEFT_OUT[POLICY]),
    ]


def test_the_given_template_is_not_changed() -> None:
    given = template()
    without_left_out(given)
    assert "Target" in given["Resources"]


@pytest.mark.parametrize(
    "body",
    [
        {"Type": "AWS::X::Y", "DependsOn": ["Target"]},
        {"Type": "AWS::X::Y", "DependsOn": "Target"},
        {"Type": "AWS::X::Y", "Properties": {"A": [{"Ref": "Target"}]}},
        {"Type": "AWS::X::Y", "Properties": {"A": {"Fn::GetAtt": ["Target", "Arn"]}}},
        {"Type": "AWS::X::Y", "Properties": {"A": {"Fn::Sub": "x/${Target.Arn}"}}},
    ],
)
def test_what_is_kept_may_not_refer_to_what_is_left_out(body: dict[str, Any]) -> None:
    with pytest.raises(DeployFault, match="Other refers to Target"):
        without_left_out(template(Other=body))


def test_a_literal_in_a_sub_is_no_reference() -> None:
    assert references({"Fn::Sub": "${!Target} ${AWS::Region} ${Bucket.Arn}"}) == {"AWS::Region", "Bucket"}


def test_the_minimum_of_tasks_is_the_parameter_or_its_default() -> None:
    assert minimum_of_tasks(template(), {}) == 2
    assert minimum_of_tasks(template(), {"MinTasks": "3"}) == 3
    assert minimum_of_tasks({"Resources": {}}, {}) is None


def test_the_parameters_come_from_the_local_environment(tmp_path: Path) -> None:
    config = tmp_path / "samconfig.toml"
    config.write_text(
        'version = 0.1\n[local.build.parameters]\nparameter_overrides = "Runtime=python3.11"\n'
        '[local.deploy.parameters]\nparameter_overrides = ["QuietSeconds=2", "Name=\\"a b\\""]\n'
        '[prod.deploy.parameters]\nparameter_overrides = ["QuietSeconds=60"]\n'
    )
    assert configured(config) == {"Runtime": "python3.11", "QuietSeconds": "2", "Name": "a b"}
    assert configured(tmp_path / "none.toml") == {}


def test_a_build_is_made_anew_when_code_template_or_runtime_change_and_for_nothing_else(
    tmp_path: Path,
) -> None:
    template, code = tmp_path / "template.yaml", tmp_path / "code" / "on_something.py"
    code.parent.mkdir()
    code.write_text("1")
    template.write_text("CodeUri: code/\nRuntime: !Ref PythonRuntime\n")
    seen = [fingerprint(template, {"PythonRuntime": "python3.11"})]
    assert fingerprint(template, {"PythonRuntime": "python3.11", "TaskCpu": "1024"}) == seen[0]
    seen.append(fingerprint(template, {"PythonRuntime": "python3.12"}))
    code.write_text("2")
    seen.append(fingerprint(template, {"PythonRuntime": "python3.12"}))
    template.write_text(template.read_text() + "# more\n")
    seen.append(fingerprint(template, {"PythonRuntime": "python3.12"}))
    assert len(set(seen)) == 4


def test_a_built_template_can_be_copied_anywhere_and_equal_functions_share_one_archive(tmp_path: Path) -> None:
    built = tmp_path / "elsewhere" / "built"
    for name, text in {"One": "same", "Two": "same", "Three": "another"}.items():
        (built / name / "package").mkdir(parents=True)
        (built / name / "package" / "code.py").write_text(text)
    (tmp_path / "trainer").mkdir()
    template = built / "template.yaml"
    functions = "".join(f"  {name}: {{Properties: {{CodeUri: {name}}}}}\n" for name in ("One", "Two", "Three"))
    template.write_text(
        f"Resources:\n{functions}  Layer: {{Properties: {{ContentUri: ../../trainer}}}}\n"
        "  Inline: {Properties: {InlineCode: pass}}\n  Plain: {Type: AWS::SNS::Topic}\n"
    )
    make_movable(template)
    told = {name: body.get("Properties") for name, body in yaml_parse(template.read_text())["Resources"].items()}
    assert told == {
        "One": {"CodeUri": "One.zip"},
        "Two": {"CodeUri": "One.zip"},
        "Three": {"CodeUri": "Three.zip"},
        "Layer": {"ContentUri": str((tmp_path / "trainer").resolve())},
        "Inline": {"InlineCode": "pass"},
        "Plain": None,
    }
    assert sorted(path.name for path in built.iterdir()) == ["One.zip", "Three.zip", "template.yaml"]
    with zipfile.ZipFile(built / "Three.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {"package/code.py": b"another"}


def test_an_archive_is_the_same_for_the_same_files_whenever_they_were_written(tmp_path: Path) -> None:
    for name, written in {"one": 1_500_000_000, "two": 1_600_000_000}.items():
        (tmp_path / name).mkdir()
        program = tmp_path / name / "run"
        program.write_text("pass")
        program.chmod(0o755)
        os.utime(program, (written, written))
        pack(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        assert packed.getinfo("run").external_attr >> 16 == stat.S_IFREG | 0o755


def test_an_unknown_parameter_is_refused_with_the_nearest_names() -> None:
    template = Path(__file__).resolve().parents[2] / "template.yaml"
    must_be_known({"MaxRunCost": "2", "Recipe": "sklearn"}, template)
    with pytest.raises(
        DeployFault, match=r"maxruncosts is no parameter of template.yaml. The nearest are MaxRunCost, "
    ):
        must_be_known({"maxruncosts": "2"}, template)
    with pytest.raises(DeployFault, match="Foo is no parameter"):
        must_be_known({"Foo": "bar"}, template)


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("BucketName", "BUCKET"),
        ("AlertsTopicArn", "ALERTS_TOPIC"),
        ("RepositoryUri", "REPOSITORY_URI"),
        ("IngestQueueUrl", "INGEST_QUEUE_URL"),
        ("Url", "URL"),
    ],
)
def test_an_output_has_a_name_for_the_shell(output: str, name: str) -> None:
    assert shell_name(output) == name


def test_the_cause_of_an_error_of_sam_stands_below_it() -> None:
    said = "Uploading\nError: Unable to upload artifact trainer of TrainerCode.\n\n  no such file: x.pyc\n"
    assert cause(said) == "Error: Unable to upload artifact trainer of TrainerCode. no such file: x.pyc"
    assert cause("Building\nit went dark\n") == "it went dark"
    assert cause("") == "it said nothing"
