"""What makes a model comparable with the one that serves: the same test rows, the same measures, the champion's answers."""
import hashlib, json, re, unicodedata
import numpy as np, onnxruntime
from sklearn.metrics import accuracy_score, f1_score, recall_score


def is_test_row(dataset, text):
    """As Tidegate's own trainer splits, so that a champion never saw these rows either: the last tenth of a text's hash."""
    normal = " ".join(unicodedata.normalize("NFC", re.sub(r"<[^>]{0,200}>", " ", text)).casefold().split())
    return int.from_bytes(hashlib.sha256(f"{dataset}\n{normal}".encode()).digest()[:8], "big") / 2**64 >= 0.9


def answers_of_champion(get, prefix, texts):
    """The probabilities that a published model gives, and its labels: kinds `text` (ours) and `ngrams` (the default recipe's)."""
    rules, labels = json.loads(get(prefix + "features.json")), json.loads(get(prefix + "labels.json"))
    session = onnxruntime.InferenceSession(get(prefix + "model.onnx"))
    if rules.get("kind") == "text":
        return session.run(["probabilities"], {"text": np.array(texts, dtype=object).reshape(-1, 1)})[0], labels
    if rules.get("kind", "ngrams") != "ngrams":
        raise SystemExit(f"The champion is of kind {rules['kind']}; teach answers_of_champion to read it.")
    vocabulary = {gram: n for n, gram in enumerate(get(prefix + "vocabulary.txt").decode().removesuffix("\n").split("\n"))}

    def ids(text):
        text = unicodedata.normalize("NFC", re.sub(rules["strip_pattern"], " ", text))
        words = re.findall(rules["token_pattern"], text.lower() if rules["lowercase"] else text)[: rules["max_tokens"]]
        grams = {" ".join(words[i : i + n]) for n in rules["ngrams"] for i in range(len(words) - n + 1)}
        return sorted(vocabulary[gram] for gram in grams if gram in vocabulary) or [len(vocabulary)]

    return np.vstack([session.run(["probabilities"], {"ids": [ids(text)]})[0] for text in texts]), labels


def measure(probabilities, labels, truth):
    """The figures that the gate decides by, as the contract `manifest.json` names them."""
    answer, sure = np.array(labels)[probabilities.argmax(1)], probabilities.max(1)
    right, names = answer == np.array(truth), sorted(set(truth))
    place = {label: n for n, label in enumerate(labels)}
    chance = [row[place[label]] if label in place else 0 for row, label in zip(probabilities, truth)]
    bins = np.minimum((sure * 15).astype(int), 14)
    return {
        "rows": len(truth),
        "accuracy": float(accuracy_score(truth, answer)),
        "majority_share": max(truth.count(name) for name in names) / len(truth),
        "macro_f1": float(f1_score(truth, answer, labels=names, average="macro", zero_division=0)),
        "log_loss": float(-np.log(np.clip(chance, 1e-15, 1)).mean()),
        "calibration_error": float(sum(abs(right[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean() for b in set(bins))),
        "per_class_recall": dict(zip(names, recall_score(truth, answer, labels=names, average=None, zero_division=0).tolist())),
    }
