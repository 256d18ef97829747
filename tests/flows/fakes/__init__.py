"""Every port in memory, with real behaviour: versions conflict, tokens repeat, deployments roll and fall back.

Nothing but the control plane itself is imported, so that flows are tested where no AWS library is installed.
"""

from tests.flows.fakes.bucket import FakeBucket
from tests.flows.fakes.clock import NOON, FakeClock, FakeTimer, Ring
from tests.flows.fakes.ledger import SENDING, FakeLedger
from tests.flows.fakes.machines import (
    A_POOL,
    BAD_REQUEST,
    NO_CAPACITY,
    FakeAccount,
    FakeFleet,
    FakeGuard,
    FakePrices,
    refused,
)
from tests.flows.fakes.mails import FakeNotifier
from tests.flows.fakes.registry import (
    CLEAN,
    FOUND,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    PENDING,
    FakeImages,
    FakeScans,
    child_digest,
)
from tests.flows.fakes.service import FakeFailedTasks, FakeProber, FakeService

__all__ = [
    "A_POOL",
    "BAD_REQUEST",
    "CLEAN",
    "FOUND",
    "FakeAccount",
    "FakeBucket",
    "FakeClock",
    "FakeFailedTasks",
    "FakeFleet",
    "FakeGuard",
    "FakeImages",
    "FakeLedger",
    "FakeNotifier",
    "FakePrices",
    "FakeProber",
    "FakeScans",
    "FakeService",
    "FakeTimer",
    "NOON",
    "NO_CAPACITY",
    "OCI_CONFIG",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "PENDING",
    "Ring",
    "SENDING",
    "child_digest",
    "refused",
]
