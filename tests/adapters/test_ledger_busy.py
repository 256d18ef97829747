"""A ledger whose table is busy: a transaction that was cancelled was not written, and the reasons say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from controlplane.adapters.dynamo_ledger import DynamoLedger
from controlplane.domain.rollout import Rollout
from controlplane.ports import Conflict, TryAgain


class TestABusyTable:
    def ledger(
        self, stubbed: Callable[[str], tuple[Any, Stubber]], *answers: list[str]
    ) -> tuple[DynamoLedger, list[int]]:
        client, stub = stubbed("dynamodb")
        for codes in answers:
            if not codes:
                stub.add_response("transact_write_items", {})
                continue
            reasons = [{"Code": code} for code in codes]
            modeled = {"CancellationReasons": reasons}
            stub.add_client_error("transact_write_items", "TransactionCanceledException", modeled_fields=modeled)
        waited: list[int] = []
        return DynamoLedger(client, "ledger", waited.append), waited

    def test_is_asked_again_after_pauses(self, stubbed: Callable[[str], tuple[Any, Stubber]]) -> None:
        ledger, waited = self.ledger(stubbed, ["None", "ThrottlingError"], ["TransactionConflict"], [])
        ledger.save_rollout(Rollout(), [], [])
        assert waited == [1, 2]

    def test_is_left_for_later_in_the_end(self, stubbed: Callable[[str], tuple[Any, Stubber]]) -> None:
        ledger, waited = self.ledger(stubbed, *[["ThrottlingError"]] * 6)
        with pytest.raises(TryAgain) as told:
            ledger.save_rollout(Rollout(), [], [])
        assert (waited, isinstance(told.value, Conflict)) == ([1, 2, 3, 4, 5], False)

    def test_a_change_by_somebody_else_is_a_conflict_at_once(
        self, stubbed: Callable[[str], tuple[Any, Stubber]]
    ) -> None:
        ledger, waited = self.ledger(stubbed, ["ConditionalCheckFailed", "TransactionConflict"])
        with pytest.raises(Conflict):
            ledger.save_rollout(Rollout(), [], [])
        assert waited == []

    def test_a_mistake_of_ours_is_raised(self, stubbed: Callable[[str], tuple[Any, Stubber]]) -> None:
        ledger, waited = self.ledger(stubbed, ["ValidationError"])
        with pytest.raises(ClientError):
            ledger.save_rollout(Rollout(), [], [])
        assert waited == []
