"""What every alert is."""

from __future__ import annotations

from dataclasses import dataclass

SUBJECT_LIMIT = 100


@dataclass(frozen=True)
class Alert:
    """`alert_id` is what it is about: a repeated event makes the same one. `subject` is plain ASCII, as SNS wants."""

    alert_id: str
    subject: str
    body: str

    @classmethod
    def of(cls, alert_id: str, subject: str, *, happened: str, why: str, done: str, to_do: str, look: str) -> Alert:
        printable = "".join(letter if " " <= letter <= "~" else "?" for letter in subject)
        if len(printable) >= SUBJECT_LIMIT:
            printable = printable[: SUBJECT_LIMIT - 4] + "..."
        body = "\n".join(
            (
                f"What happened: {happened}",
                f"Why: {why}",
                f"What was done: {done}",
                f"What to do: {to_do}",
                f"Where to look: {look}",
            )
        )
        return cls(alert_id=alert_id, subject=printable, body=body + "\n")
