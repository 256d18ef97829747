"""What lies in the dead-letter queues goes back to where it belongs."""

from __future__ import annotations

import json

import pytest

from tools.redrive import Again, Unknown, again


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
