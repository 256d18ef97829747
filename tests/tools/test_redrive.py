"""What lies in the dead-letter queues goes back to where it belongs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tools.redrive import EVENTS, MOVED_BY_SQS, Again, Unknown, again, redrive


def test_an_event_that_a_rule_could_not_deliver_goes_to_its_target() -> None:
    letter = {
        "Body": '{"id": "1"}',
        "MessageAttributes": {"TARGET_ARN": {"StringValue": "arn:aws:lambda:eu-west-1:1:function:f"}},
    }
    assert again(letter) == Again("arn:aws:lambda:eu-west-1:1:function:f", '{"id": "1"}')


def test_an_event_that_a_function_gave_up_on_goes_to_the_function() -> None:
    body = {"requestContext": {"functionArn": "arn:aws:lambda:eu-west-1:1:function:f"}, "requestPayload": {"id": "1"}}
    assert again({"Body": json.dumps(body)}) == Again("arn:aws:lambda:eu-west-1:1:function:f", '{"id": "1"}')


@pytest.mark.parametrize("body", ["", "plain words", "[]", '{"requestContext": {}}'])
def test_a_message_of_another_shape_is_left_where_it_is(body: str) -> None:
    with pytest.raises(Unknown):
        again({"MessageId": "m", "Body": body})


class LocalQueues:
    """Queues with one letter each that nobody may move, as in the local cloud."""

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": "1", "QueueArn": "arn"}}

    def start_message_move_task(self, **_: Any) -> None:
        raise ClientError({"Error": {"Code": "InvalidAction", "Message": "unknown"}}, "StartMessageMoveTask")

    def receive_message(self, **_: Any) -> dict[str, Any]:
        return {}


def test_what_an_endpoint_cannot_move_is_not_told_as_sent(capsys: pytest.CaptureFixture[str]) -> None:
    queues: Any = LocalQueues()
    names = dict.fromkeys([*MOVED_BY_SQS, EVENTS], "url")
    assert redrive(names, queues, queues, dry_run=False) == 1
    told = capsys.readouterr()
    assert told.out == "EventDeadLetters: sent 0 again\n"
    assert "IngestDeadLetters: 1 left. This endpoint (the local cloud) cannot move messages" in told.err
