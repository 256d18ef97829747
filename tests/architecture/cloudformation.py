"""What the architecture tests ask of template.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.cloudformation import template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = template()
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
FUNCTIONS: dict[str, Any] = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::Serverless::Function"
}
# One sample event a function, `<function>.json`; and others that it takes, `<function>.<kind>.json`.
SAMPLES: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in (ROOT / "events").glob("on_*.json")}
EVENTS = {name: event for name, event in SAMPLES.items() if "." not in name}


def module_of(function: str) -> str:
    return str(FUNCTIONS[function]["Handler"]).removesuffix(".handler")


def of_type(kind: str) -> dict[str, Any]:
    return {name: resource["Properties"] for name, resource in RESOURCES.items() if resource["Type"] == kind}


def references(value: Any) -> set[str]:
    """Everything that a piece of the template depends on: `Bucket`, `TaskRole.Arn`, `AWS::Region`."""
    return set(_references(value))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref":
                yield inner
            elif key == "Fn::GetAtt":
                yield ".".join(inner)
            elif key == "Fn::Sub":
                text = inner if isinstance(inner, str) else inner[0]
                yield from re.findall(r"\$\{([^!}][^}]*)\}", text)
            else:
                yield from _references(inner)


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every policy statement of the template, with the resource it stands in."""
    for name, resource in RESOURCES.items():
        for document in documents(resource.get("Properties", {})):
            for statement in document["Statement"]:
                yield name, statement["Fn::If"][1] if "Fn::If" in statement else statement


def documents(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from documents(item)
    elif isinstance(value, dict):
        if "Statement" in value:
            yield value
        else:
            for inner in value.values():
                yield from documents(inner)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
