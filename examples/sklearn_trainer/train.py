"""A trainer of one's own for Tidegate: TF-IDF and logistic regression by scikit-learn, served as one ONNX graph.

The contract: TIDEGATE_BUCKET, TIDEGATE_RUN and TIDEGATE_ATTEMPT come in, models/<run>/manifest.json goes out, last.
"""
import collections, csv, hashlib, io, json, os, sys, time
import boto3, numpy as np, onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from champion import answers_of_champion, is_test_row, measure

s3, bucket = boto3.client("s3"), os.environ["TIDEGATE_BUCKET"]
run, attempt, began = os.environ["TIDEGATE_RUN"], int(os.environ["TIDEGATE_ATTEMPT"]), time.time()
get = lambda key, **more: s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()
put = lambda key, body: s3.put_object(Bucket=bucket, Key=key, Body=body if isinstance(body, bytes) else json.dumps(body).encode())
now = lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
outcome = lambda how, why: put(f"logs/{run}/{attempt}/outcome.json", {"contract": 1, "run_id": run, "attempt": attempt,
                               "outcome": how, "cause": None, "reason": why, "step": None, "at": now()})

spec = json.loads(get(f"runs/{run}/spec.json"))
rows, bad, twice = {}, 0, 0
for thing in spec["snapshot"]["objects"]:  # exactly these versions, whatever was dropped since
    version = {"VersionId": thing["version_id"]} if thing["version_id"] else {}
    table = csv.DictReader(io.StringIO(get(thing["key"], **version).decode("utf-8-sig")))
    name = {field.strip().lower(): field for field in table.fieldnames or []}
    text_at = spec["columns"]["text"] or next((name[n] for n in ("text", "review", "sentence", "content") if n in name), None)
    label_at = spec["columns"]["label"] or next((name[n] for n in ("label", "sentiment", "target", "class") if n in name), None)
    for row in table:
        text, label = (row.get(text_at) or "").strip(), (row.get(label_at) or "").strip()
        bad, twice = bad + (not text or not label), twice + (text in rows)
        if text and label:
            rows.setdefault(text, label)

train = [(text, label) for text, label in rows.items() if not is_test_row(spec["dataset"], text)]
test = [(text, label) for text, label in rows.items() if is_test_row(spec["dataset"], text)]
labels = sorted({label for _, label in train})
share = bad / max(1, bad + twice + len(rows))
if len(labels) < 2 or not test or share > spec["limits"]["max_rejected_share"]:
    outcome("failed", f"{len(train)} rows to train on, {len(test)} to test, {len(labels)} classes, {share:.0%} refused: drop better data.")
    sys.exit(3)  # trying again cannot help

pipeline = make_pipeline(TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000))
pipeline.fit(*zip(*train))
graph = to_onnx(pipeline, initial_types=[("text", StringTensorType([None, 1]))], target_opset=17, options={
    id(pipeline): {"zipmap": False},  # a plain tensor named 'probabilities'
    TfidfVectorizer: {"tokenexp": r"[\p{L}\p{N}_]+", "locale": "C.UTF-8"},  # RE2 knows no \w beyond ASCII; slim images no en_US
}).SerializeToString()
session = onnxruntime.InferenceSession(graph)
answer = lambda texts: session.run(["probabilities"], {"text": np.array(texts, dtype=object).reshape(-1, 1)})[0]

test = [(text, label) for text, label in test if label in labels]
texts, truth = [text for text, _ in test], [label for _, label in test]
ours = answer(texts)  # measured as it will be served
right, comparison = np.array(labels)[ours.argmax(1)] == truth, None
if spec["champion"]:
    theirs, known = answers_of_champion(get, f"models/{spec['champion']}/", texts)
    also = np.array(known)[theirs.argmax(1)] == truth
    comparison = {"champion": spec["champion"], "metrics": measure(theirs, known, truth), "both_right": int((right & also).sum()),
                  "only_challenger_right": int((right & ~also).sum()), "only_champion_right": int((also & ~right).sum()),
                  "both_wrong": int((~right & ~also).sum())}
metrics = measure(ours, labels, truth)
golden = [{"text": text, "label": labels[int(row.argmax())], "probabilities": row.tolist()} for text, row in zip(texts[:32], ours)]
files = {"model.onnx": graph, "features.json": {"kind": "text"}, "labels.json": labels, "golden.json": golden,
         "metrics.json": {"test": metrics, "comparison": comparison}}
files = {n: body if isinstance(body, bytes) else json.dumps(body).encode() for n, body in files.items()}
for n, body in files.items():
    put(f"models/{run}/{n}", body)
outcome("trained", f"Accuracy {metrics['accuracy']:.4f} on {metrics['rows']} test rows.")
put(f"models/{run}/manifest.json", {  # last: from now on the model exists
    "contract": 1, "run_id": run, "dataset": spec["dataset"], "snapshot_digest": spec["snapshot"]["digest"], "labels": labels,
    "files": {n: {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)} for n, body in files.items()},
    "rows": {"accepted": len(rows) + twice, "rejected": bad, "duplicates": twice, "train": len(train), "validation": 0, "test": len(test)},
    "metrics": metrics, "comparison": comparison, "trainer_version": os.environ.get("TIDEGATE_TRAINER_VERSION", "sklearn example"),
    "recipe": "sklearn", "knobs": {}, "seed": spec["seed"], "attempt": attempt, "resumed": None, "data_shift": None,
    "machine": {n: os.environ.get(f"TIDEGATE_MACHINE_{n.upper()}", "unknown") for n in ("id", "type", "zone", "lifecycle")},
    "seconds": round(time.time() - began, 1), "created_at": now()})
