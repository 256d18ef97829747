"""`sam local invoke` gets what it leaves out."""

from __future__ import annotations

import socket
import threading
import urllib.request
from typing import Any

import pytest

from local.cloud import ROOT
from local.invoke import event_of, fault_of, for_this_machine, gateway, receiver, relay

TEMPLATE: dict[str, Any] = {
    "Globals": {"Function": {"Architectures": ["arm64"]}},
    "Resources": {
        "OnImagePushed": {"Type": "AWS::Serverless::Function", "Properties": {"Handler": "on_image_pushed.handler"}},
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {}},
    },
}


@pytest.mark.parametrize(("machine", "wanted"), [("x86_64", "x86_64"), ("aarch64", "arm64")])
def test_the_copy_is_for_this_machine_and_has_a_place_for_the_endpoint(machine: str, wanted: str) -> None:
    made = for_this_machine(TEMPLATE, machine)
    properties = made["Resources"]["OnImagePushed"]["Properties"]
    assert properties["Architectures"] == made["Globals"]["Function"]["Architectures"] == [wanted]
    assert properties["Environment"] == {"Variables": {"AWS_ENDPOINT_URL": ""}}
    assert made["Resources"]["Topic"] == TEMPLATE["Resources"]["Topic"]
    assert "Environment" not in TEMPLATE["Resources"]["OnImagePushed"]["Properties"], "the original stays as it was"


def test_every_function_has_its_sample_event() -> None:
    assert event_of("OnImagePushed") == ROOT / "events" / "on_image_pushed.json"
    assert event_of("OnStackDeploying").exists()


def test_the_relay_carries_both_ways_and_closes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:

        def upper() -> None:
            with inside.accept()[0] as caller:
                caller.sendall(caller.recv(100).upper())

        answering = threading.Thread(target=upper)
        answering.start()
        to = inside.getsockname()[1]
        with relay("127.0.0.1", to) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
            caller.sendall(b"fine")
            assert caller.recv(100) == b"FINE"
        answering.join()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("answer", "told", "fault"),
    [
        ("null\n", [], None),
        ('{"batchItemFailures": []}', [], None),
        ('{"errorMessage": "no such table", "errorType": "ClientError"}', [], "ClientError: no such table"),
        ('{"batchItemFailures": [{"itemIdentifier": "m-1"}]}', [], "1 messages go back"),
        ("null", [{"Status": "SUCCESS"}], None),
        ("null", [{"Status": "FAILED", "Reason": "no ledger"}], "no ledger"),
        ("Killed", [], "no JSON: Killed"),
    ],
)
def test_a_function_that_failed_is_a_failure_though_sam_does_not(
    answer: str, told: list[Any], fault: str | None
) -> None:
    found = fault_of(answer, told)
    assert found is None if fault is None else fault in (found or "")


def test_what_is_put_to_the_response_url_is_heard() -> None:
    heard: list[Any] = []
    with receiver("127.0.0.1", heard) as address:
        put = urllib.request.Request(address, data=b'{"Status": "SUCCESS"}', method="PUT")
        with urllib.request.urlopen(put, timeout=5) as answered:
            assert answered.status == 200
    assert heard == [{"Status": "SUCCESS"}]


def test_the_bridge_of_a_fresh_engine_has_an_address_though_it_tells_none() -> None:
    assert gateway([{"Subnet": "172.17.0.0/16"}]) == "172.17.0.1"
    assert gateway([{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.9"}]) == "172.17.0.9"
