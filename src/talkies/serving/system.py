"""`/v1/models`, `/health` and `/metrics`."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from talkies.serving.errors import ApiError
from talkies.serving.schemas import Health, Model, ModelPage
from talkies.serving.service import VideoService
from talkies.serving.videos import _REFUSALS, Owner, Service
from talkies.version import __version__

router = APIRouter(tags=["system"])
#: What is counted by its name; clients may invent others without end.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class QueueGauges(Collector):
    """The queue's numbers, read from it when they are asked for.

    Args:
        service: Whose.
    """

    def __init__(self, service: VideoService) -> None:
        self._service = service

    def collect(self) -> list[Metric]:
        """All gauges."""
        jobs = GaugeMetricFamily("talkies_videos", "Videos in the queue, by state.", labels=["state"])
        for state, count in self._service.store.counts().items():
            jobs.add_metric([state.value], count)
        found: list[Metric] = [
            jobs,
            GaugeMetricFamily("talkies_disk_free_bytes", "Disk space left.", self._service.store.free_bytes()),
        ]
        workers = self._service.workers()
        if workers is not None:
            found.append(GaugeMetricFamily("talkies_workers", "Workers alive.", workers))
        return found


class Metrics:
    """What `/metrics` shows: the queue, and the requests answered.

    Args:
        service: Whose.
    """

    def __init__(self, service: VideoService) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(QueueGauges(service))
        self.requests = Counter(
            "talkies_requests", "Requests, by route and status.", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "talkies_request_seconds", "Time to answer, by route.", ["route"], registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        self.requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self.latency.labels(route).observe(seconds)


class Measured:
    """Counts answers and the time until they begin; tells browsers to take content types at their word.

    Args:
        app: What is measured.
        metrics: Where it is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        answered = False

        def observe(status: int) -> None:
            nonlocal answered
            answered = True
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.observe(scope["method"], route, status, time.perf_counter() - start)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                observe(message["status"])
                MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception:  # answered further out, where nothing is counted
            if not answered:
                observe(500)
            raise


@router.get("/v1/models", responses=_REFUSALS)
async def models(owner: Owner, service: Service) -> ModelPage:
    """What can be asked for; the first is the default."""
    return ModelPage(data=[Model(id=model.id, created=model.created) for model in service.settings.models])


@router.get("/v1/models/{model_id:path}", responses=_REFUSALS)
async def model(model_id: str, owner: Owner, service: Service) -> Model:
    """One model."""
    for known in service.settings.models:
        if known.id == model_id:
            return Model(id=known.id, created=known.created)
    raise ApiError(404, "model_not_found", f"There is no model {model_id[:80]!r}.", "model")


@router.get("/health", responses={503: {"model": Health}})
async def health(response: Response, service: Service) -> Health:
    """Whether videos can be made; needs no key."""
    status = "ok"
    if service.store.free_bytes() < service.store.limits.free_bytes:
        status = "disk_full"
    elif service.workers() == 0:
        status = "no_worker"
    response.status_code = 200 if status == "ok" else 503
    return Health(status=status, version=__version__)  # type: ignore[arg-type]


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **_REFUSALS})
def metrics(request: Request, owner: Owner) -> Response:
    """For Prometheus, in its text format."""
    gathered: Metrics = request.app.state.metrics
    return Response(generate_latest(gathered.registry), media_type=CONTENT_TYPE_LATEST)
