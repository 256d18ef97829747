"""A person's decision about releases: `make rollback STACK=… WHY=…`, `make release-held N=… STACK=… WHY=…`.

It invokes the stack's function OnPersonDecided in the name of whoever calls, and prints its answer.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.faults import advice

FUNCTION = "OnPersonDecided"


def decision(asked: argparse.Namespace, by: str, decision_id: str) -> dict[str, Any]:
    return {
        "action": "roll_back" if asked.action == "rollback" else "release",
        "release": int(asked.release) if asked.release else None,
        "why": asked.why,
        "by": by,
        "id": decision_id,
        "dry_run": asked.dry_run,
    }


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="decide", description=__doc__.splitlines()[0] if __doc__ else None)
    root.add_argument("action", choices=["rollback", "release-held"])
    root.add_argument("stack", help="name of the stack")
    root.add_argument("--release", metavar="N", help="number of the release (default: the last good one; the held one)")
    root.add_argument("--why", default="", help="for the ledger and the alert")
    root.add_argument("--dry-run", action="store_true", help="only say what would be done")
    return root


def unclear(asked: argparse.Namespace) -> str:
    """What is to be said better, in the words of the Makefile; empty when all is clear."""
    if not asked.why.strip():
        return f"Say why: make {asked.action} WHY='…'. It is kept in the ledger and told in the alert."
    if asked.release and not (asked.release.isascii() and asked.release.isdigit()):
        given = "TO" if asked.action == "rollback" else "N"
        return f"{given}={asked.release} is no number of a release. For example: make {asked.action} {given}=3 WHY='…'"
    return ""


def main() -> int:
    asked = parser().parse_args()
    if said := unclear(asked):
        print(said, file=sys.stderr)
        return 2
    try:
        by = boto3.client("sts").get_caller_identity()["Arn"]
        found = boto3.client("cloudformation").describe_stack_resource(
            StackName=asked.stack, LogicalResourceId=FUNCTION
        )
        name = found["StackResourceDetail"]["PhysicalResourceId"]
        payload = json.dumps(decision(asked, by, str(uuid.uuid4()))).encode()
        told = boto3.client("lambda").invoke(FunctionName=name, Payload=payload)
        answer = json.loads(told["Payload"].read())
    except (ClientError, BotoCoreError, KeyError, ValueError) as fault:
        print(advice(fault, asked.stack, f"invoke its {FUNCTION}"), file=sys.stderr)
        return 2
    if told.get("FunctionError") or "said" not in answer:
        print(f"{FUNCTION} failed: {answer}. Its log group says more.", file=sys.stderr)
        return 2
    print(answer["said"])
    return 0 if answer["done"] or asked.dry_run else 1


if __name__ == "__main__":
    sys.exit(main())
