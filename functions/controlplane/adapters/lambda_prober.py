"""The function that may reach the tasks (on_probe_asked.py), asked and waited for: events/contracts/probe.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ..domain.probes import Proof, Question, Verdict

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

AT_ONCE = 8  # addresses a call: the function asks as many at once
LONG = 15.0  # seconds of a call after which the others are left for the next look


class LambdaProber:
    def __init__(self, functions: LambdaClient, function: str, seconds: Callable[[], float] = time.monotonic) -> None:
        self._functions, self._function, self._seconds = functions, function, seconds

    def ask(self, question: Question, addresses: Sequence[str]) -> Mapping[str, Proof]:
        """Some at a time; after some that were silent or took long, the others are left for the next look."""
        proofs: dict[str, Proof] = {}
        began = self._seconds()
        for start in range(0, len(addresses), AT_ONCE):
            proofs |= self._ask(question, addresses[start : start + AT_ONCE])
            silent = any(proof.verdict is Verdict.NO_ANSWER for proof in proofs.values())
            if silent or self._seconds() - began > LONG:
                break
        return proofs

    def _ask(self, question: Question, addresses: Sequence[str]) -> Mapping[str, Proof]:
        asked = {
            "release": question.release,
            "digest": question.digest,
            "model": question.model,
            "addresses": list(addresses),
            "rows": [{"text": row.text, "label": row.label} for row in question.rows],
        }
        try:
            reply = self._functions.invoke(FunctionName=self._function, Payload=json.dumps(asked).encode())
            told: Any = json.loads(reply["Payload"].read())
        except (ClientError, BotoCoreError, ValueError) as fault:
            return _silent(addresses, f"the probe could not be asked: {fault}")
        if reply.get("FunctionError") or not isinstance(told, dict):
            return _silent(addresses, f"the probe failed: {str(told)[:300]}")
        return {each["address"]: Proof(Verdict(each["verdict"]), each["why"]) for each in told["tasks"]}


def _silent(addresses: Sequence[str], why: str) -> Mapping[str, Proof]:
    return dict.fromkeys(addresses, Proof(Verdict.NO_ANSWER, why))
