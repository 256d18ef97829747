"""The routes. They know the model's four steps and no more of it; each answer is JSON by the contract `serving.json`.

A small request is answered on the event loop: for a model call of a tenth of a millisecond a thread costs more than it
gives. A large one goes to a worker thread, one at a time, so that health checks and small requests go on beside it.
Explanations wait for each other, not predictions for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from inference.bodies import ONE, PREDICT_REQUEST, read_body, read_texts
from inference.emf import Metrics
from inference.explain import explain
from inference.front import Front, Life
from inference.model import Model
from inference.page import page
from inference.problems import Problem, as_answer, as_json
from inference.settings import Settings

# About 2 ms of work on one core.
SMALL = 16_000

T = TypeVar("T")
Route = TypeVar("Route", bound=Callable[[], Awaitable[Response]])


def create_app(settings: Settings, model: Model | None, metrics: Metrics, life: Life) -> FastAPI:
    """The service around a verified model, or around none yet."""
    predicting, explaining = asyncio.Lock(), asyncio.Lock()

    async def run(one_at_a_time: asyncio.Lock, work: int, call: Callable[..., T], *given: Any) -> T:
        if work <= SMALL:
            return call(*given)
        async with one_at_a_time:
            return await asyncio.to_thread(call, *given)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        flusher = asyncio.create_task(_flush_for_ever(metrics, settings.metrics_seconds))
        yield
        flusher.cancel()
        metrics.flush()

    app = FastAPI(title="Tidegate inference", version=settings.image_version, lifespan=lifespan, docs_url=None,
                  redoc_url=None)  # fmt: skip
    app.add_middleware(Front, release=settings.release, metrics=metrics, life=life)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    page_body, page_headers = page()

    def get(path: str, documented: bool = True) -> Callable[[Route], Route]:
        def register(route: Route) -> Route:
            app.head(path, include_in_schema=False)(route)
            return app.get(path, include_in_schema=documented)(route)

        return register

    def serving() -> Model:
        if model is None:
            raise Problem(503, NO_MODEL, WHAT_THEN)
        return model

    def finish(answer: dict[str, Any], answers: list[dict[str, Any]], used: Model, began: float) -> Response:
        ms = round((perf_counter() - began) * 1000, 3)
        metrics.answered(ms, answers)
        return as_json({**answer, "model": used.run_id, "release": settings.release, "ms": ms})

    @app.post("/predict", openapi_extra=_takes(PREDICT_REQUEST))
    async def predict(request: Request) -> Response:
        used, body = serving(), await read_body(request)
        began = perf_counter()
        texts, several = read_texts(body)
        answers = await run(predicting, work(texts, used), used.answer, texts)
        return finish({"predictions": answers} if several else answers[0], answers, used, began)

    @app.post("/explain", openapi_extra=_takes(ONE))
    async def explain_it(request: Request) -> Response:
        used, body = serving(), await read_body(request)
        began = perf_counter()
        [text], _ = read_texts(body, many=False)
        answer = await run(explaining, 4 * work([text], used), explain, used, text)
        return finish(answer, [answer], used, began)

    @get("/health")
    async def health() -> Response:
        return as_json({"status": "alive"})

    @get("/ready")
    async def ready() -> Response:
        if life.draining:
            return _not_ready("This task is ending: it finishes what runs.", "Send new requests to another task.")
        if model is None:
            return _not_ready(NO_MODEL, WHAT_THEN)
        return as_json({"ready": True})

    @get("/version")
    async def version() -> Response:
        return as_json(
            {
                "release": settings.release,
                "image": settings.image,
                "digest": settings.digest,
                "model": model.run_id if model else None,
                "snapshot": model.snapshot if model else None,
                "image_version": settings.image_version,
            }
        )

    @get("/", documented=False)
    async def page_for_people() -> Response:
        return Response(page_body, headers=page_headers, media_type="text/html")

    return app


NO_MODEL = "There is no model yet: MODEL_URI is empty."
WHAT_THEN = "Drop a CSV under raw/ in the bucket; the first model that is good enough is rolled out by itself."


def work(texts: list[str], model: Model) -> int:
    """A rough size of a request: characters to read, and scores to write."""
    return model.reader.effort * sum(map(len, texts)) + 40 * len(texts) * len(model.labels)


def _takes(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _not_ready(reason: str, what_to_do: str) -> Response:
    return as_json({"ready": False, "reason": reason, "error": reason, "what_to_do": what_to_do}, 503)


async def _problem(_: Request, problem: Exception) -> Response:
    if not isinstance(problem, Problem):
        raise problem
    return as_answer(problem)


async def _http_problem(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, HTTPException):
        raise problem
    if problem.status_code == 404:
        ways = "Use POST /predict, POST /explain, GET /health, GET /ready, GET /version or GET /."
        answer = Problem(404, f"There is nothing at {request.url.path[:100]}.", ways)
    elif problem.status_code == 405:
        allowed = (problem.headers or {}).get("Allow", "another method")
        answer = Problem(405, f"{request.method} is not possible here.", f"Use {allowed}.")
    else:
        answer = Problem(problem.status_code, str(problem.detail), "Correct the request and send it again.")
    response = as_answer(answer)
    response.headers.update(problem.headers or {})
    return response


async def _flush_for_ever(metrics: Metrics, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        metrics.flush()
