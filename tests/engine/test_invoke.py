"""Each function in `sam local invoke`, on its sample event: the stack's rules are off, so they alone move the loop on.

What a sample names (an object, a digest, a machine) is put there first, and its real name put into the event. A
function of the template without a case here fails the test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

from local import scans
from local.invoke import FUNCTION, bridge, event_of, relay
from tests.e2e.stack import Stack, as_csv, reviews
from tests.engine.alone import Alone, alone_on, rules_off
from tests.engine.conftest import ROOT, Tell
from tests.engine.test_rollouts import calm, releases, something_serves
from tests.images import OTHER_LABELS, good_serve, variant, variant_with_serve

pytestmark = pytest.mark.engine
SAMPLE_KEY = "raw/reviews (1) + more.csv"
QUIET_SECONDS = 2  # as samconfig.toml says for the local cloud


def a_drop_is_taken_in(alone: Alone) -> str:
    stack, body = alone.stack, as_csv(reviews(400, seed=77, labels=("negative", "positive")))
    made = stack.cloud.client("s3").put_object(Bucket=stack.bucket, Key=SAMPLE_KEY, Body=body)
    assert "default" not in stack.items("batch")
    alone.invoke("OnDataDropped", bucket=stack.bucket, size=str(len(body)), etag=made["ETag"].strip('"'),
                 version=made["VersionId"])  # fmt: skip
    batch = stack.items("batch")["default"]
    assert batch["accepted"] == 1
    return "the drop joins the open batch of its dataset"


def its_batch_becomes_a_run(alone: Alone) -> str:
    stack = alone.stack
    batch = stack.items("batch")["default"]
    last, known = datetime.fromisoformat(batch["last_drop_at"]), {run["run_id"] for run in stack.runs("default")}
    stack.wait("quiet", lambda: (datetime.now(UTC) - last).total_seconds() > QUIET_SECONDS + 0.5)
    opened = datetime.fromisoformat(batch["opened_at"]).isoformat()
    alone.invoke("OnBatchSettled", batch=f"default@{opened}", as_of=last.isoformat())
    assert "default" not in stack.items("batch")
    [run] = [run for run in stack.runs("default") if run["run_id"] not in known]
    assert run["state"] == "LAUNCHING" and run["machine"] in stack.machines_of(run["run_id"])
    alone.seen["run"] = run
    return f"the batch becomes run {run['run_id']}, and machine {run['machine']} is started for it"


def a_machine_that_is_gone_is_written_down(alone: Alone) -> str:
    stack, run = alone.stack, alone.seen["run"]
    stack.cloud.client("ec2").terminate_instances(InstanceIds=[run["machine"]])
    alone.invoke("OnMachineChanged", machine=run["machine"])
    after = stack.items("run")[run["run_id"]]
    [stint] = [stint for stint in after["stints"] if stint["machine"] == run["machine"]]
    assert stint["gone"]
    # The trainer of 400 rows may have been quicker than this test.
    if f"models/{run['run_id']}/manifest.json" not in stack.keys(f"models/{run['run_id']}/manifest.json"):
        assert after["machine"] != run["machine"] and after["attempt"] == 2
    return "its machine is gone: the run goes on, on the next machine if it left no model"


def its_model_is_promoted(alone: Alone) -> str:
    stack, run_id = alone.stack, alone.seen["run"]["run_id"]
    key = f"models/{run_id}/manifest.json"
    stack.wait("the model", lambda: key in stack.keys(key), 120)
    assert stack.items("champion")["default"] != run_id
    alone.invoke("OnModelPublished", run=run_id)
    assert stack.items("run")[run_id]["state"] == "PROMOTED"
    assert stack.items("champion")["default"] == run_id
    rolling = stack.rollout()["rolling"]
    assert rolling["model"] == run_id
    return f"the model is promoted, and release {rolling['number']} rolls"


def its_release_is_settled(alone: Alone) -> str:
    stack = alone.stack
    rolling = stack.rollout()["rolling"]
    stack.wait("the end of its deployment", lambda: alone_on(stack, rolling["deployment"]), 120)
    alone.invoke("OnDeploymentChanged", deployment=rolling["deployment"])
    assert stack.rollout()["serving"]["number"] == rolling["number"]
    stack.wait("the mail", lambda: stack.mails(f"release {rolling['number']} serves"))
    return f"release {rolling['number']} is SERVING, and people are told"


def a_push_is_held(alone: Alone) -> str:
    stack = alone.stack
    scans.write(stack.cloud.state, [scans.Scanned("*", status="IN_PROGRESS")])
    digest = stack.cloud.push("v1", "1", variant(alone.folder / "pushed", alone.first, "pushed"))
    its_event_comes(alone, digest, "v1")
    release = releases(stack)[-1]
    assert release["image"] == digest and release["state"] == "HELD"
    alone.seen["digest"] = digest
    return f"release {release['number']} is HELD until its scan"


def its_event_comes(alone: Alone, digest: str, tag: str) -> None:
    stack, repository = alone.stack, alone.stack.outputs["RepositoryName"]
    [image] = stack.cloud.client("ecr").describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])[
        "imageDetails"
    ]
    # Now: an event that is older than a push that was taken already would be late, and ignored.
    now, media_type = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", image["imageManifestMediaType"]
    sample = event_of("OnImagePushed").read_text().replace('"image-tag": "v1"', f'"image-tag": "{tag}"')
    names = {"repository": repository, "digest": digest, "time": now, "media_type": media_type}
    alone.run("OnImagePushed", sample, names)


def a_good_scan_lets_it_roll(alone: Alone) -> str:
    stack = alone.stack
    scans.write(stack.cloud.state, [])
    alone.invoke("OnImageScanned", repository=stack.outputs["RepositoryName"], digest=alone.seen["digest"])
    release = releases(stack)[-1]
    assert release["image"] == alone.seen["digest"] and release["state"] == "ROLLING"
    return f"its scan found nothing: release {release['number']} rolls"


def what_no_event_told_is_found(alone: Alone) -> str:
    stack = alone.stack
    rolling = stack.rollout()["rolling"]
    stack.wait("the end of its deployment", lambda: alone_on(stack, rolling["deployment"]), 120)
    alone.invoke("OnReconcileDue")
    assert (calm(stack) or {})["number"] == rolling["number"]
    return f"release {rolling['number']} is SERVING, though no event said so"


def a_person_goes_back(alone: Alone) -> str:
    stack = alone.stack
    bad, good = stack.rollout()["serving"], stack.rollout()["previous"]
    said = alone.invoke("OnPersonDecided")
    rolling = stack.rollout()["rolling"]
    assert (rolling["image"], rolling["model"]) == (good["image"], good["model"]), said
    assert rolling["number"] > bad["number"]
    stack.wait("the end of its deployment", lambda: alone_on(stack, rolling["deployment"]), 120)
    alone.invoke("OnReconcileDue")
    assert (calm(stack) or {})["number"] == rolling["number"]
    return f"release {rolling['number']} brings image and model of release {good['number']} back"


def a_task_proves_itself(alone: Alone) -> str:
    """The container of `sam local` reaches no loopback address of this machine, so a way there is laid."""
    stack, event = alone.stack, json.loads(event_of("OnProbeAsked").read_text())
    serving, [group] = stack.rollout()["serving"], stack.cloud.client("elbv2").describe_target_groups()["TargetGroups"]
    health = stack.cloud.client("elbv2").describe_target_health(TargetGroupArn=group["TargetGroupArn"])
    task = health["TargetHealthDescriptions"][0]["Target"]
    golden = stack.read_json(f"models/{serving['model']}/golden.json")
    rows = [{"text": row["text"], "label": row["label"]} for row in golden]
    with relay(bridge(), task["Port"], to=task["Id"]) as port:
        event |= {"release": serving["number"], "digest": serving["image"], "model": serving["model"], "rows": rows,
                  "addresses": [f"{bridge()}:{port}"]}  # fmt: skip
        said = alone.run("OnProbeAsked", json.dumps(event), {})
    assert f"all {len(rows)} rows of the golden set got the trainer's labels" in said and "AGREES" in said
    return f"a task of release {serving['number']} answers {len(rows)} golden rows as the trainer did"


def requests_may_shift_to_tasks_that_agree(alone: Alone) -> str:
    stack = alone.stack
    rolling = stack.rollout()["rolling"]
    stack.wait("its tasks", lambda: alone_on(stack, rolling["deployment"]), 120)
    said = asked_to_shift(alone)
    assert hook_status(said) == "SUCCEEDED" and "tasks agree" in said
    return f"SUCCEEDED: every task of release {rolling['number']} agrees with the golden set"


def they_may_not_shift_to_tasks_that_disagree(alone: Alone) -> str:
    """The local cloud rolls them out all the same, for it shifts nothing; so the good release is brought back."""
    stack, good = alone.stack, alone.stack.rollout()["serving"]
    folder = variant_with_serve(alone.folder / "bad", alone.first, "bad", good_serve(OTHER_LABELS))
    digest = stack.cloud.push("v2", "2", folder)
    stack.wait("its scan", lambda: scanned(stack, digest))
    its_event_comes(alone, digest, "v2")
    rolling = stack.rollout()["rolling"]
    assert rolling["image"] == digest
    stack.wait("its tasks", lambda: alone_on(stack, rolling["deployment"]), 120)
    said = asked_to_shift(alone)
    assert hook_status(said) == "FAILED" and "rows got another label" in said
    alone.invoke("OnReconcileDue")
    back = stack.rollout()["going_back"]
    stack.wait("the good tasks", lambda: alone_on(stack, back["deployment"]), 120)
    alone.invoke("OnReconcileDue")
    assert (calm(stack) or {})["number"] == good["number"]
    return f"FAILED: the tasks of release {rolling['number']} give the golden set other labels"


def asked_to_shift(alone: Alone) -> str:
    """As ECS asks of the newest deployment."""
    names = {"cluster": alone.stack.outputs["ClusterName"], "service": alone.stack.outputs["ServiceName"]}
    newest, *_ = alone.stack.cloud.client("ecs").list_service_deployments(**names)["serviceDeployments"]
    arns = {"service": newest["serviceArn"], "revision": newest["targetServiceRevisionArn"]}
    return alone.invoke("OnTrafficShifting", **arns)


def hook_status(said: str) -> str:
    [answer] = [line for line in said.splitlines() if line.startswith('{"hookStatus"')]
    return str(json.loads(answer)["hookStatus"])


def scanned(stack: Stack, digest: str) -> bool:
    told = stack.cloud.client("ecr").describe_image_scan_findings(
        repositoryName=stack.outputs["RepositoryName"], imageId={"imageDigest": digest}
    )
    return bool(told["imageScanStatus"]["status"] == "COMPLETE")


def cloudformation_is_told_what_serves(alone: Alone) -> str:
    said = alone.invoke("OnStackDeploying")
    [line] = [line for line in said.splitlines() if line.startswith("told CloudFormation: ")]
    told, served = json.loads(line.partition(": ")[2]), alone.stack.rollout()["serving"]
    assert told["Status"] == "SUCCESS" and told["Data"]["Image"].endswith(f"@{served['image']}")
    assert told["Data"]["ModelUri"].endswith(f"/models/{served['model']}/")
    return "CloudFormation is told the image and the model that serve"


def an_alarm_is_answered(alone: Alone) -> str:
    stack = alone.stack
    names = {"cluster": stack.outputs["ClusterName"], "services": [stack.outputs["ServiceName"]]}
    ecs = stack.cloud.client("ecs")
    before = ecs.describe_services(**names)["services"][0]["desiredCount"]
    alone.invoke("OnAlarmChanged")
    assert ecs.describe_services(**names)["services"][0]["desiredCount"] == before + 1
    stack.wait("the mail", lambda: stack.mails("ALARM tidegate-local-latency-high"))
    ecs.update_service(cluster=names["cluster"], service=stack.outputs["ServiceName"], desiredCount=before)
    return f"{before + 1} tasks instead of {before}, and people are told"


# In the order of the loop: one uses what the one before made.
CASES: list[tuple[str, Callable[[Alone], str]]] = [
    ("OnDataDropped", a_drop_is_taken_in),
    ("OnBatchSettled", its_batch_becomes_a_run),
    ("OnMachineChanged", a_machine_that_is_gone_is_written_down),
    ("OnModelPublished", its_model_is_promoted),
    ("OnTrafficShifting", requests_may_shift_to_tasks_that_agree),
    ("OnDeploymentChanged", its_release_is_settled),
    ("OnImagePushed", a_push_is_held),
    ("OnImageScanned", a_good_scan_lets_it_roll),
    ("OnReconcileDue", what_no_event_told_is_found),
    ("OnPersonDecided", a_person_goes_back),
    ("OnProbeAsked", a_task_proves_itself),
    ("OnTrafficShifting", they_may_not_shift_to_tasks_that_disagree),
    ("OnStackDeploying", cloudformation_is_told_what_serves),
    ("OnAlarmChanged", an_alarm_is_answered),
]


def test_each_function_alone_does_what_its_event_asks(
    stack: Stack, inference: str, tmp_path: Path, figures: Tell
) -> None:
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    functions = {name for name, body in resources.items() if body["Type"] == FUNCTION}
    assert functions <= {name for name, _ in CASES}, "give every function of the template a case"
    something_serves(stack, inference, tmp_path)
    with rules_off(stack):
        alone = Alone(stack, inference, tmp_path)
        for name, case in [(name, case) for name, case in CASES if name in functions]:
            began = time.monotonic()
            effect = case(alone)
            figures(f"{name}: {effect} ({time.monotonic() - began:.1f} s)")
