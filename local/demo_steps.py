"""The seven steps of the demo, and what each of them promises. `demo.py` runs them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from local import interruption, reviews
from local.cloud import Cloud
from local.interruption import Interruption
from local.traffic import Traffic
from local.witness import Item, NotSeen, Teller, Witness, iam_is_enforced

BUCKET = "bucket"  # a copy of what belongs to the first run, as it lies in the bucket
DATASET, FILMS, PRODUCTS = "default", "raw/film-reviews.csv", "raw/product-reviews.csv"
TEXTS_AT_ONCE = 200
TEXT = "The movie was amazing!"
SHUFFLE_SEED = 14
RUN_SECONDS, RELEASE_SECONDS, ALERT_SECONDS = 180.0, 180.0, 90.0
MIN_ACCURACY = 0.75


class Demo:
    """The seven steps, in order. Each writes what it saw into `report`."""

    def __init__(self, cloud: Cloud, say: Teller, out: Path) -> None:
        self.cloud, self.say, self.out = cloud, say, out
        self.see = Witness(cloud, say)
        self.report: dict[str, Any] = {}
        self.promises: list[tuple[str, bool]] = []
        self.reviews: list[reviews.Review] = []
        self.runs: list[str] = []
        self.dropped_at = 0.0

    def promise(self, sentence: str, kept: bool) -> None:
        self.promises.append((sentence, kept))

    def deploy(self) -> None:
        deployed = self.cloud.deploy()
        self.see.outputs = self.cloud.outputs()
        took = ", ".join(f"{name} {seconds:g} s" for name, seconds in deployed.seconds.items())
        self.say(f"{deployed.deployed} resources deployed, {len(deployed.left_out)} left out ({took})")
        self.report["resources"] = {
            "deployed": deployed.deployed, "left_out": [asdict(entry) for entry in deployed.left_out]
        }  # fmt: skip
        self.report["iam_enforced"] = iam_is_enforced(self.cloud, self.see.outputs, self.say)
        self.promise("IAM is enforced", self.report["iam_enforced"])

    def drop(self) -> None:
        archive = reviews.fetch(self.out)
        self.reviews, products = reviews.read(archive), reviews.read(archive, reviews.PRODUCTS)
        unclear = sum(not review.label for review in [*self.reviews, *products])
        self.say(f"{len(self.reviews):,} sentences of film reviews, {len(products):,} of product reviews")
        self.say(reviews.ATTRIBUTION)
        self.say(f"{unclear} of them are rated exactly 0, neither good nor bad: their label is empty")
        self._settings(interruption.SETTINGS.encode())
        self.say(f"{interruption.SETTINGS_KEY}: many penalties are tried, not a few: a fit to interrupt")
        self.dropped_at = self.say.seconds
        self._put({FILMS: self.reviews, PRODUCTS: products})

    def _settings(self, body: bytes) -> None:
        bucket = self.see.outputs["BucketName"]
        self.cloud.client("s3").put_object(Bucket=bucket, Key=interruption.SETTINGS_KEY, Body=body)

    def _put(self, files: dict[str, Sequence[reviews.Review]]) -> None:
        bucket, etags = self.see.outputs["BucketName"], set()
        for key, rows in files.items():
            body = reviews.as_csv(rows)
            (self.out / Path(key).name).write_bytes(body)
            etag = self.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body)["ETag"].strip('"')
            etags.add(etag)
            self.say(f"PutObject s3://{bucket}/{key}: {len(body):,} bytes, etag {etag}")

        def accepted() -> tuple[bool | None, str]:
            known = {drop["etag"] for drop in self.see.ledger(f"drops {DATASET}")}
            return etags <= known or None, f"{len(etags & known)} of {len(etags)} accepted"

        self.see.wait("What was dropped is accepted", RUN_SECONDS, accepted)

    def train(self, wanted: str, spot: Interruption | None = None) -> tuple[Item, Item]:
        """Follow the next run to its end; give it and its model's manifest. `spot` interrupts it on the way."""
        told: list[Item] = [{}]

        def ended() -> tuple[Item | None, str]:
            fresh = [run for run in self.see.ledger("run") if run["run_id"] not in self.runs]
            if not fresh:
                return None, "no new run in the ledger"
            run = fresh[0]
            progress = json.loads(self.see.object(f"logs/{run['run_id']}/{run['attempt']}/progress.json") or b"{}")
            if progress and progress != told[0]:
                told[0] = progress
                of = f" of {progress['total']:,}" if progress["total"] else ""
                self.say(f"progress: {progress['phase']}, {progress['done']:,}{of} {progress['unit']}")
            if spot:
                spot.look(run, progress)
            if run["state"] in {"FAILED", "CANCELLED", "PROMOTED", "REJECTED"} - {wanted}:
                raise NotSeen(f"Run {run['run_id']} ended {run['state']}, not {wanted}: {run['reason']}")
            return (run if run["state"] == wanted else None), f"run {run['run_id']} is {run['state']}"

        run = self.see.wait(f"A run ends {wanted}", RUN_SECONDS, ended)
        self.runs.append(run["run_id"])
        manifest = self.see.document(f"models/{run['run_id']}/manifest.json")
        machine, rows, metrics = manifest["machine"], manifest["rows"], manifest["metrics"]
        self.say(f"machine: {machine['id']}, {machine['type']} {machine['lifecycle']} in {machine['zone']}")
        self.say(
            f"rows: {rows['accepted']:,} accepted, {rows['rejected']:,} rejected, {rows['duplicates']:,} duplicates; "
            f"{rows['train']:,} to train, {rows['validation']:,} to validate, {rows['test']:,} to test"
        )
        self.say(
            f"test rows: accuracy {metrics['accuracy']:.4f}, macro F1 {metrics['macro_f1']:.4f}, "
            f"log-loss {metrics['log_loss']:.4f}, calibration error {metrics['calibration_error']:.4f}"
        )
        return run, manifest

    def first_run(self) -> None:
        spot = Interruption(self.cloud, self.see, self.say)
        run, manifest = self.train("PROMOTED", spot)
        self.report["interruption"] = came = spot.came_of_it(run, manifest)
        self.promise(
            f"interrupted at step {came['saved_step']}, the run went on from there on another machine",
            came["steps_lost"] == 0 and came["attempts"] == 2,
        )
        cost = self.see.mail(f"({run['run_id']})", ALERT_SECONDS)["body"].splitlines()[0].partition("PROMOTED: ")[2]
        self.say(f"cost: {cost}")
        self.report["run"] = {
            "id": run["run_id"], "rows_accepted": manifest["rows"]["accepted"],
            "rows_rejected": manifest["rows"]["rejected"], "accuracy": manifest["metrics"]["accuracy"],
            "test_rows": manifest["metrics"]["rows"], "machine": manifest["machine"], "cost": cost,
            "train_seconds": manifest["seconds"], "reason": run["reason"],
        }  # fmt: skip
        accuracy = manifest["metrics"]["accuracy"]
        self.promise(f"accuracy {accuracy:.3f} on all test rows is at least {MIN_ACCURACY}", accuracy >= MIN_ACCURACY)
        card = self.report["card"] = spot.card(run["run_id"])
        page = f"runs/{run['run_id']}/card.html"
        for key in {page, f"runs/{run['run_id']}/card.json", *card["links"].values()}:
            kept = self.out / BUCKET / key
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(self.see.object(key) or b"")
        self.say(f"the run card, with plots: {self.out / BUCKET / page}")

    def first_release(self) -> None:
        champion = self.see.champion(DATASET)
        self.say(f"champion of {DATASET}: {champion}. Why: {self.report['run']['reason']}")
        release = self._release(1, "v1")
        answer = self.see.ask("POST", "/predict", {"text": TEXT})
        told = answer.body
        self.say(f"POST /predict {json.dumps({'text': TEXT})} → HTTP {answer.status} {json.dumps(told)}")
        if answer.status != 200:
            raise NotSeen(f"The service answered {answer.status}, not 200: {told}")
        self.say(f"{told['label']}, in {answer.ms:g} ms through the load balancer ({told['ms']:g} ms in the service)")
        self.report["loop_seconds"] = round(self.say.seconds - self.dropped_at, 1)
        self.report["prediction"] = {
            "text": TEXT, "label": told["label"], "ms": answer.ms, "service_ms": told["ms"],
            "probability": told["probability"], "model": told["model"], "release": told["release"],
        }  # fmt: skip
        right = told["label"] == "positive" and told["model"] == champion == release["model"]
        self.promise(f'the champion calls "{TEXT}" {told["label"]}', right)
        self._film_test_rows()

    def _film_test_rows(self) -> None:
        """Ask the service itself about the film reviews that it was not trained on."""
        split = self.see.object(f"processed/{self.runs[-1]}/test.parquet") or b""
        rows = [row for row in pq.read_table(io.BytesIO(split)).to_pylist() if row["object"] == FILMS]
        right = 0
        for at in range(0, len(rows), TEXTS_AT_ONCE):
            some = rows[at : at + TEXTS_AT_ONCE]
            told = self.see.ask("POST", "/predict", {"texts": [row["text"] for row in some]}).body["predictions"]
            right += sum(answer["label"] == row["label"] for answer, row in zip(told, some, strict=True))
        accuracy = right / len(rows)
        self.say(f"asked about the {len(rows):,} film reviews among the test rows: right on {100 * accuracy:.1f} %")
        self.report["film_test"] = {"rows": len(rows), "right": right, "accuracy": round(accuracy, 4)}
        self.promise(f"accuracy {accuracy:.3f} on film reviews is at least {MIN_ACCURACY}", accuracy >= MIN_ACCURACY)

    def _release(self, number: int, tag: str) -> Item:
        digest = self.cloud.push(tag, tag)
        self.say(f"pushed image {tag}: {digest}")

        def serves() -> tuple[Item | None, str]:
            found = [release for release in self.see.ledger("release") if release["number"] == number]
            if not found:
                return None, f"no release {number} in the ledger"
            if found[0]["state"] in {"FAILED", "ROLLED_BACK", "RETIRED"}:
                raise NotSeen(f"Release {number} is {found[0]['state']}: {found[0]['reason']} Logs: {self.cloud.logs}")
            return (found[0] if found[0]["state"] == "SERVING" else None), f"release {number} is {found[0]['state']}"

        release = self.see.wait(f"Release {number} serves", RELEASE_SECONDS, serves)
        service = self.see.settled(None, RELEASE_SECONDS)
        self.say(f"the tasks before it are gone; {service['runningCount']} tasks run")
        version = self.see.ask("GET", "/version").body
        self.say(f"GET /version → {json.dumps(version)}")
        same = (version["digest"], version["model"], version["image_version"]) == (digest, release["model"], tag)
        self.promise(f"/version tells release {number}, image {tag} by its digest and its model", same)
        return release

    def worse_data(self) -> None:
        before = self.see.champion(DATASET)
        worse = reviews.half_shuffled(self.reviews, SHUFFLE_SEED)
        other = sum(old.label != new.label for old, new in zip(self.reviews, worse, strict=True))
        self.say(
            "the film reviews are replaced by a worse file: the same texts, every second one with the label of another "
            f"({other:,} of {len(worse):,} labels differ); champion and challenger are asked the same test rows of it"
        )
        self.cloud.client("s3").delete_object(Bucket=self.see.outputs["BucketName"], Key=interruption.SETTINGS_KEY)
        self.say(f"{interruption.SETTINGS_KEY} is taken away: a few penalties again")
        self._put({FILMS: worse})
        run, manifest = self.train("REJECTED")
        self.say(f"why: {run['reason']}")
        after = self.see.champion(DATASET)
        serving = self.see.ask("GET", "/version").body["model"]
        self.say(f"champion: {after}, as before; /version: {serving}" if before == after else f"champion: {after}")
        self.report["champion_unchanged"] = before == after == serving
        self.report["worse_run"] = {
            "id": run["run_id"], "state": run["state"], "reason": run["reason"],
            "accuracy": manifest["metrics"]["accuracy"], "labels_changed": other,
            "champion_accuracy": manifest["comparison"]["metrics"]["accuracy"],
        }  # fmt: skip
        self.promise("the champion is unchanged by worse data", self.report["champion_unchanged"])

    def new_image(self) -> None:
        texts = [review.text for review in self.reviews]
        with Traffic(self.see.connect, self.see.host, texts) as traffic:
            self.see.wait("The first answers", 30, lambda: (traffic.sent >= 20 or None, f"{traffic.sent} sent"))
            self.say(f"requests come all the time: {traffic.sent} so far, {len(traffic.failures)} failed")
            self._release(2, "v2")
            enough = traffic.by_release["2"] + 100
            self.see.wait("More answers", 30, lambda: (traffic.by_release["2"] >= enough or None, f"{traffic.sent}"))
        shares = ", ".join(f"{count:,} by release {name}" for name, count in sorted(traffic.by_release.items()))
        self.say(f"{traffic.sent:,} requests sent, {len(traffic.failures)} failed; answered {shares}")
        self.say(f"half of the answers within {traffic.slowest(0.5):g} ms, 95 % within {traffic.slowest(0.95):g} ms")
        if traffic.failures:
            self.say(f"the first failure: {traffic.failures[0]}")
        self.report["requests"] = {
            "sent": traffic.sent, "failed": len(traffic.failures), "by_release": dict(traffic.by_release),
            "first_failure": traffic.failures[0] if traffic.failures else None,
            "p50_ms": traffic.slowest(0.5), "p95_ms": traffic.slowest(0.95),
        }  # fmt: skip
        both = set(traffic.by_release) == {"1", "2"}
        sentence = f"{len(traffic.failures)} of {traffic.sent:,} requests failed while release 2 took over from 1"
        self.promise(sentence, both and not traffic.failures)
        self.report["releases"] = [
            {"number": release["number"], "digest": release["image"], "model": release["model"],
             "state": release["state"]} for release in self.see.ledger("release")
        ]  # fmt: skip
        serving = [release["number"] for release in self.report["releases"] if release["state"] == "SERVING"]
        self.promise("release 2 serves, and no other", serving == [2])

    def alarm(self) -> None:
        name, before = f"{self.cloud.stack}-latency-high", self.see.service()["desiredCount"]
        self.say(f"SetAlarmState {name} ALARM: AWS's own way to try what an alarm does")
        self.cloud.alarm(name, "ALARM", "Set by the demo: the slowest 5 % of the answers took longer than 300 ms.")
        mail = self.see.mail(name, ALERT_SECONDS)
        after = self.see.settled(before + 1, ALERT_SECONDS)["runningCount"]
        self.say(f"Subject: {mail['subject']}\n{mail['body']}")
        self.say(f"the service: {before} tasks before, {after} run now")
        self.report["alert"] = {"subject": mail["subject"], "body": mail["body"]}
        self.report["scaled"] = {"before": before, "after": after}
        self.promise(f"the alarm was told with what was done: {before} tasks became {after}", "Scaled" in mail["body"])

    def run(self) -> None:
        with self.say.step("The local cloud, and the stack in it"):
            self.cloud.start(leash=True)
            self.say(f"the local cloud is up at {self.cloud.aws.endpoint}")
            self.deploy()
        for name, does in (
            ("Film and product reviews are dropped", self.drop),
            ("It is trained, and interrupted once", self.first_run),
            ("The first release", self.first_release),
            ("Worse data is dropped", self.worse_data),
            ("A new image, while requests keep coming", self.new_image),
            ("An alarm", self.alarm),
        ):
            with self.say.step(name):
                does()

    def keep_alerts(self) -> None:
        for mail in (self.cloud.state / "inbox").glob("*.txt"):
            shutil.copy(mail, self.out / "alerts" / mail.name)
