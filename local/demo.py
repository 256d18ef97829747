"""The whole loop on this machine, told as it happens: `make demo`, or `python -m local.demo`.

    1 cloud up, stack deployed   2 a CSV dropped   3 the run, interrupted once   4 the first release
    5 worse data, refused        6 a new image under load   7 an alarm
Promise: every line is read from the cloud when it is printed. It ends 0 only if all that was promised came true, and
the cloud is ended in any case. The figures and what a person may want to keep are in build/demo.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from local import reviews
from local.cloud import ROOT, Cloud, CloudFault, default_port
from local.demo_steps import BUCKET, Demo
from local.images import PushRefused
from local.processes import belonging_to, free_port, port_open
from local.sam import DeployFault
from local.witness import NotSeen, Teller

OUT, STATE = ROOT / "build" / "demo", ROOT / "build" / "demo-cloud"


def summary(demo: Demo) -> bool:
    """Print what was promised and what came of it; whether all of it came true."""
    say, report = demo.say, demo.report
    say.heading("What came of it")
    for sentence, kept in demo.promises:
        print(f"  {'yes' if kept else 'NO ':3}  {sentence}")
    print(f"  a CSV in, a served model out: {report['loop_seconds']:g} s; all of it: {report['total_seconds']:g} s")
    for step in say.steps:
        print(f"  {step['seconds']:6.1f} s  {step['name']}")
    print(f"\nKept in {demo.out}: report.json, alerts/, and {BUCKET}/ with the run card, its plots and logs.")
    print("To try it by hand: make up")
    return all(kept for _, kept in demo.promises)


def play(demo: Demo) -> int:
    """Run it and end the cloud, whatever happens; the exit code."""
    fault = ""
    try:
        demo.run()
    except (NotSeen, CloudFault, DeployFault, PushRefused, reviews.NoReviews) as told:
        fault = str(told)
    except ClientError as refused:
        fault = f"The local cloud refused {refused.operation_name}: {refused.response['Error']['Message']}"
    except (BotoCoreError, OSError) as broken:
        fault = f"The local cloud does not answer: {broken} Logs: {demo.cloud.logs}"
    except KeyboardInterrupt:
        fault = "Interrupted."
    finally:
        demo.keep_alerts()
        left = demo.cloud.stop()
    demo.promise("the cloud is ended, no process and no port is left", not left)
    fault = " ".join([fault, *left]).strip()
    demo.report.update(steps=demo.say.steps, total_seconds=round(demo.say.seconds, 1), ok=False)
    if not fault:
        demo.report["ok"] = summary(demo)
    else:
        demo.report["failure"] = fault
        print(f"\nThe demo failed. {fault}", file=sys.stderr)
    (demo.out / "report.json").write_text(json.dumps(demo.report, indent=1, ensure_ascii=False) + "\n")
    return 0 if demo.report["ok"] else 1


def fresh(out: Path) -> None:
    """Nothing of an earlier demo may be taken for this one's."""
    for kept in [out / "report.json", *out.glob("*.csv")]:
        kept.unlink(missing_ok=True)
    for folder in ("alerts", BUCKET):
        shutil.rmtree(out / folder, ignore_errors=True)
    (out / "alerts").mkdir(parents=True)


def end_what_is_left(state: Path) -> None:
    before = Cloud(state=state, port=free_port())
    if before.running() or belonging_to(before.state):
        before.stop()


def terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description="The whole loop, told as it happens.")
    parser.add_argument("--state", type=Path, default=STATE, metavar="FOLDER", help="where its cloud keeps everything")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where the report goes")
    given = parser.parse_args()
    given.state.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, terminated)
    with (given.state / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another demo runs in {given.state}. Wait for its end, or give another --state.", file=sys.stderr)
            return 1
        fresh(given.out)
        end_what_is_left(given.state)
        say = Teller(time.monotonic, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
        port = free_port() if port_open(default_port()) else default_port()
        return play(Demo(Cloud(state=given.state, port=port, say=say), say, given.out))


if __name__ == "__main__":
    sys.exit(main())
