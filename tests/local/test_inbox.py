from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.aws import Aws
from local.inbox import Inbox, as_mail, follow, messages

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def notification(number: int, subject: str | None = "Promoted: default") -> dict[str, Any]:
    topic = "arn:aws:sns:us-east-1:000000000000:alerts"
    return {
        "Type": "Notification",
        "MessageId": str(number),
        "TopicArn": topic,
        "Subject": subject,
        "Message": "Why: ñ",
    }


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(Aws("http://none", "us-east-1"), tmp_path)


def test_a_message_reads_as_the_mail_that_a_person_gets() -> None:
    text = as_mail(notification(1), AT)
    assert "Date: Thu, 01 Jan 2026 12:00:00 +0000\nSubject: Promoted: default\n" in text
    assert text.endswith("\n\nWhy: ñ\n")


def test_a_message_without_a_subject_gets_the_one_that_aws_gives() -> None:
    assert "Subject: AWS Notification Message\n" in as_mail(notification(1, None), AT)


def test_messages_are_kept_in_order_to_read_and_to_test(inbox: Inbox, tmp_path: Path) -> None:
    for number in range(1, 12):
        inbox.take(notification(number, f"s{number}"))
    assert [(kept["n"], kept["subject"]) for kept in messages(tmp_path)] == [(n, f"s{n}") for n in range(1, 12)]
    assert "Subject: s11" in (tmp_path / "11.txt").read_text()


def test_a_message_delivered_twice_is_kept_once(inbox: Inbox, tmp_path: Path) -> None:
    inbox.take(notification(1))
    inbox.take(notification(1))
    assert len(messages(tmp_path)) == 1


def test_following_shows_what_is_there_and_what_comes(inbox: Inbox, tmp_path: Path) -> None:
    inbox.take(notification(1, "first"))
    ended = threading.Event()
    shown = follow(tmp_path, ended)
    assert "first" in next(shown)
    inbox.take(notification(2, "second"))
    assert "second" in next(shown)
    ended.set()
    assert list(shown) == []
