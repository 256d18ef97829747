"""A DynamoDB table whose items are (kind, id), a JSON document and, where two may want to change it, a version.

`put`, `new`, `next`, `instead` and `gone` only say what is to be written; `write` writes it in one transaction. One
that DynamoDB cancelled because it was busy was not written, and is asked again after a pause.
docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from ..ports import Conflict, TryAgain
from .documents import decode

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Reasons of a cancelled transaction that pass by themselves; boto3 does not ask again for them.
BUSY = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
TRIES = 6
T = TypeVar("T")
Item = dict[str, Any]


class Table:
    def __init__(self, dynamodb: DynamoDBClient, name: str, pause: Callable[[int], None]) -> None:
        """`pause` waits before the n-th try again, from 1 on."""
        self._dynamodb, self._name, self._pause = dynamodb, name, pause

    # -- what is there ------------------------------------------------------------------------------------------------
    def item(self, kind: str, name: str) -> Item | None:
        return self._dynamodb.get_item(TableName=self._name, Key=_key(kind, name), ConsistentRead=True).get("Item")

    def get(self, shape: type[T], kind: str, name: str) -> T | None:
        item = self.item(kind, name)
        return decode(shape, item["doc"]["S"]) if item else None

    def all(self, shape: type[T], kind: str) -> list[T]:
        return [decode(shape, doc) for _, doc in self.documents(kind)]

    def documents(self, kind: str) -> list[tuple[str, str]]:
        """Id and document of every item of the kind."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._name,
            ConsistentRead=True,
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": kind}},
        )
        return [(item["id"]["S"], item["doc"]["S"]) for page in pages for item in page["Items"]]

    # -- what is to be written ----------------------------------------------------------------------------------------
    def put(self, kind: str, name: str, doc: str, condition: Item | None = None, **more: Any) -> Item:
        attributes = {key: {"N": str(value)} if isinstance(value, int) else value for key, value in more.items()}
        item = {**_key(kind, name), "doc": {"S": doc}, **attributes}
        return {"Put": {"TableName": self._name, "Item": item, **(condition or {})}}

    def new(self, kind: str, name: str, doc: str, **more: Any) -> Item:
        return self.put(kind, name, doc, {"ConditionExpression": "attribute_not_exists(kind)"}, **more)

    def next(self, kind: str, name: str, doc: str, version: int) -> Item:
        """The version after `version`; the first one when that is 0."""
        if version == 0:
            return self.new(kind, name, doc, version=1)
        condition = {
            "ConditionExpression": "version = :before",
            "ExpressionAttributeValues": {":before": {"N": str(version)}},
        }
        return self.put(kind, name, doc, condition, version=version + 1)

    def instead(self, kind: str, name: str, doc: str, before: str | None) -> Item:
        if before is None:
            return self.new(kind, name, doc)
        return self.put(kind, name, doc, _same(before))

    def gone(self, kind: str, name: str, before: str) -> Item:
        return {"Delete": {"TableName": self._name, "Key": _key(kind, name), **_same(before)}}

    # -- writing ------------------------------------------------------------------------------------------------------
    def write(self, writes: Sequence[Item]) -> None:
        """All or nothing. Raises Conflict, or TryAgain when the table stays busy."""
        for number in range(1, TRIES + 1):
            try:
                self._dynamodb.transact_write_items(TransactItems=writes)  # type: ignore[arg-type]
                return
            except ClientError as fault:
                reasons = _why_cancelled(fault)
                if "ConditionalCheckFailed" in reasons:
                    raise Conflict(str(fault)) from fault
                if not reasons or not reasons <= BUSY:
                    raise
                if number == TRIES:
                    raise TryAgain(f"DynamoDB is busy: {fault}") from fault
            self._pause(number)

    def put_at_once(self, put: Item) -> None:
        """Of its own, outside any transaction. Raises Conflict."""
        try:
            self._dynamodb.put_item(**put["Put"])
        except ClientError as fault:
            if fault.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise Conflict(str(fault)) from fault
            raise

    def delete(self, kind: str, name: str) -> None:
        """Also when it is gone already."""
        self._dynamodb.delete_item(TableName=self._name, Key=_key(kind, name))


def _why_cancelled(fault: ClientError) -> set[str]:
    """Codes of a transaction that was cancelled as a whole; none for any other fault."""
    if fault.response["Error"]["Code"] != "TransactionCanceledException":
        return set()
    told = fault.response.get("CancellationReasons", [])
    return {reason.get("Code", "None") for reason in told} - {"None"}


def _key(kind: str, name: str) -> Item:
    return {"kind": {"S": kind}, "id": {"S": name}}


def _same(before: str) -> Item:
    return {"ConditionExpression": "doc = :before", "ExpressionAttributeValues": {":before": {"S": before}}}
