"""docs/reference.md from the template, so that it cannot go stale: `make docs` writes it, `make check` compares it.

It also holds the tree in ARCHITECTURE.md against the folders that are there.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.cloudformation import template

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"
INVOKED = {  # by no event
    "OnPersonDecided": "a person: `make rollback`, `make release-held`",
    "OnProbeAsked": "OnDeploymentChanged, OnReconcileDue, OnTrafficShifting",
    "OnTrafficShifting": "ECS, before it shifts requests (not with ROLLING)",
    "OnStackDeploying": "CloudFormation (custom resource)",
}


def page(stack: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            "# Reference",
            "",
            "Written by `make docs` from `template.yaml`; do not edit by hand.",
            "",
            "## Parameters",
            "",
            *table(("Parameter", "Default", "What it does", "Range"), parameters(stack)),
            "",
            "## Functions",
            "",
            *table(("Function", "File", "Comes from", "May (statements)"), functions(stack)),
            "",
            "## Shared policies",
            "",
            *table(("Policy", "Statement", "Actions", "On"), policies(stack)),
            "",
            "## Environment of the functions",
            "",
            *table(("Variable", "Read by"), environment(stack)),
            "",
            "## Outputs",
            "",
            *table(("Output", "What it is"), outputs(stack)),
            "",
        ]
    )


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    cells = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def parameters(stack: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, told in stack["Parameters"].items():
        yield f"`{name}`", f"`{told.get('Default', '')}`", told["Description"], allowed(told)


def allowed(told: Mapping[str, Any]) -> str:
    if "AllowedValues" in told:
        return ", ".join(str(value) for value in told["AllowedValues"])
    if "MinValue" in told:
        return f"{told['MinValue']} to {told['MaxValue']}"
    return f"`{told['AllowedPattern']}`" if "AllowedPattern" in told else ""


def of_type(stack: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, resource in stack["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource["Properties"]


def functions(stack: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, told in of_type(stack, "AWS::Serverless::Function"):
        file = "functions/" + told["Handler"].removesuffix(".handler") + ".py"
        events = ", ".join(come_from(event) for event in told.get("Events", {}).values())
        may = [
            policy["Ref"] if "Ref" in policy else ", ".join(s["Sid"] for s in policy["Statement"])
            for policy in told["Policies"]
        ]
        yield f"`{name}`", f"`{file}`", events or INVOKED[name], "; ".join(may) or "nothing"


def come_from(event: Mapping[str, Any]) -> str:
    told = event["Properties"]
    if event["Type"] == "EventBridgeRule":
        return f"{told['Pattern']['source'][0]}: {', '.join(told['Pattern']['detail-type'])}"
    return f"queue `{told['Queue']['Fn::GetAtt'][0]}`" if event["Type"] == "SQS" else told["ScheduleExpression"]


def policies(stack: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, told in of_type(stack, "AWS::IAM::ManagedPolicy"):
        for each in told["PolicyDocument"]["Statement"]:
            statement = each["Fn::If"][1] if "Fn::If" in each else each
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            everything = "everything" if statement["Resource"] == "*" else "named resources"
            only = " under a condition" if "Condition" in statement else ""
            yield f"`{name}`", statement["Sid"], ", ".join(f"`{action}`" for action in actions), everything + only


def environment(stack: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    readers: dict[str, list[str]] = {}
    for name, told in of_type(stack, "AWS::Serverless::Function"):
        for variable in told["Environment"]["Variables"]:
            readers.setdefault(variable, []).append(name)
    for variable, names in sorted(readers.items()):
        yield f"`{variable}`", ", ".join(names)


def outputs(stack: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, told in stack["Outputs"].items():
        yield f"`{name}`", told["Description"]


def untrue_places() -> list[str]:
    """Paths that the documents name in code quotes and that are not there."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = set(listed.split()) | {str(path.relative_to(ROOT)) for path in ROOT.glob("*") if path.is_file()}
    known = files | {str(parent) for file in files for parent in Path(file).parents}
    untrue = []
    for document in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]:
        for place in re.findall(
            r"`((?:functions|trainer|inference_image|local|events|tests|docs|tools|bench)/[\w./-]*)`",
            document.read_text(),
        ):
            if place.rstrip("/") not in known:
                untrue.append(f"{document.relative_to(ROOT)} names `{place}`, which is not there")
    return untrue


def main() -> int:
    parser = argparse.ArgumentParser(prog="reference", description="Write docs/reference.md from the template.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when it is stale")
    fresh = page(template())
    if not parser.parse_args().check:
        PAGE.write_text(fresh)
        return 0
    wrong = untrue_places()
    if not PAGE.exists() or PAGE.read_text() != fresh:
        wrong.append("docs/reference.md is stale: run make docs")
    print("\n".join(wrong) or "the documents are true", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
