"""Which words pushed an answer, and how far.

A push is in log-odds: what a word added to the logit of the label, less what it added on average to the others. Where
the graph tells each feature's contribution, a phrase's push is shared equally between its words, and between the
places where it stands; so the pushes of all words sum to the push of all features, and nothing is counted twice.
Other kinds of models are asked again without each word (`occlude.py`).
"""

from __future__ import annotations

from typing import Any

from inference import occlude
from inference.features import Features, Token, n_grams
from inference.model import Answer, Floats, Model

SHOWN = 20
NAMED = 3


def explain(model: Model, text: str) -> dict[str, Any]:
    """The answer for a text, with the words that pushed it."""
    if isinstance(model.reader, Features):
        return by_contribution(model, model.reader, text)
    return by_leaving_out(model, text)


def by_contribution(model: Model, features: Features, text: str) -> dict[str, Any]:
    row = features.read(text)
    answer = model.encode(model.predict([row]))[0]
    winner = model.labels.index(answer["label"])
    pushes = dict(zip(features.ids(text), toward(model.contributions(row), winner), strict=False))
    shown, tokens = features.tokens(text)
    by_feature, by_token = share(features, tokens, pushes)
    return told(answer, shown, tokens, by_token, by_feature)


def by_leaving_out(model: Model, text: str) -> dict[str, Any]:
    probabilities = model.predict([model.reader.read(text)])
    shown = model.reader.seen(text)
    runs = occlude.groups(shown)
    pushes = occlude.pushes(model, shown, runs, probabilities[0]) if runs else []
    return told(model.encode(probabilities)[0], shown, runs, pushes, None)


def told(
    answer: Answer, shown: str, tokens: list[Token], by_token: list[float], by_feature: dict[str, float] | None
) -> dict[str, Any]:
    by_word: dict[str, float] = {}
    for token, push in zip(tokens, by_token, strict=True):
        by_word[token.word] = by_word.get(token.word, 0.0) + push
    return {
        **answer,
        "words": [{"word": word, "push": push} for word, push in strongest(by_word)],
        "features": [{"feature": name, "push": push} for name, push in strongest(by_feature or by_word)],
        "pieces": pieces(shown, tokens, by_token),
        "total_push": round(sum(by_token), 4),
        "sentence": sentence(answer["label"], strongest(by_word)),
    }


def toward(contributions: Floats, winner: int) -> list[float]:
    """For each feature, its push toward the winner and away from the average of the other classes."""
    others = (contributions.sum(axis=1) - contributions[:, winner]) / (contributions.shape[1] - 1)
    pushes: list[float] = (contributions[:, winner] - others).tolist()
    return pushes


def share(features: Features, tokens: list[Token], pushes: dict[int, float]) -> tuple[dict[str, float], list[float]]:
    """Pushes by feature, and shared out to the places of the tokens."""
    words = [token.word for token in tokens]
    places: dict[str, list[tuple[int, int]]] = {}
    for n in features.ngrams:
        for start, feature in enumerate(n_grams(words, n)):
            if feature in features.vocabulary:
                places.setdefault(feature, []).append((start, n))
    by_feature: dict[str, float] = {}
    by_token = [0.0] * len(tokens)
    for feature, stands in places.items():
        push = by_feature[feature] = pushes[features.vocabulary[feature]]
        for start, n in stands:
            for place in range(start, start + n):
                by_token[place] += push / len(stands) / n
    return by_feature, by_token


def strongest(pushes: dict[str, float]) -> list[tuple[str, float]]:
    ranked = sorted(pushes.items(), key=lambda item: (-abs(item[1]), item[0]))
    return [(name, round(push, 4)) for name, push in ranked[:SHOWN] if round(push, 4) != 0]


def pieces(shown: str, tokens: list[Token], pushes: list[float]) -> list[dict[str, Any]]:
    """The whole text in reading order, cut where the push changes: what a page needs to mark the words."""
    cut: list[dict[str, Any]] = []
    reached = 0
    for token, push in zip(tokens, pushes, strict=True):
        if round(push, 4) == 0 or token.end == token.start:
            continue
        if token.start > reached:
            cut.append({"text": shown[reached : token.start], "push": 0.0})
        cut.append({"text": shown[token.start : token.end], "push": round(push, 4)})
        reached = token.end
    if reached < len(shown):
        cut.append({"text": shown[reached:], "push": 0.0})
    return cut


def sentence(label: str, words: list[tuple[str, float]]) -> str:
    """The same in words. Punctuation is named only where nothing else counted."""
    words = [(word, push) for word, push in words if any(map(str.isalnum, word))] or words
    toward_it = [f"“{word}”" for word, push in words if push > 0][:NAMED]
    against = [f"“{word}”" for word, push in words if push < 0][:NAMED]
    if not words:
        return f"No word of this text is known to the model, so “{label}” is only its first guess."
    parts = []
    if toward_it:
        parts.append(f"{listed(toward_it)} pushed it toward “{label}”")
    if against:
        parts.append(f"{listed(against)} pushed against it")
    return "; ".join(parts) + "."


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
