"""The mails in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.domain.alerts import Alert


@dataclass
class FakeNotifier:
    mails: list[Alert] = field(default_factory=list)

    def tell(self, alert: Alert) -> None:
        self.mails.append(alert)
