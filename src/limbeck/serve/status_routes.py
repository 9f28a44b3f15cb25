"""Routes about the service itself: ``/info``, ``/health``, ``/ready`` and ``/metrics``."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from limbeck import __version__
from limbeck.errors import LimbeckError
from limbeck.serve.answering import Opened
from limbeck.serve.metrics import CONTENT_TYPE
from limbeck.serve.schemas import ErrorAnswer, Health, IndexInfo, Info
from limbeck.serve.service import Service


def status_routes(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter(tags=["service"])

    @router.get("/health")
    async def health() -> Health:
        """Say that the process lives."""
        return Health(status="ok")

    @router.get("/ready", responses={503: {"model": ErrorAnswer}})
    async def ready() -> Health:
        """Say whether the service takes requests: 503 until the encoders are loaded, and while it stops."""
        if service.draining:
            raise LimbeckError("service: is stopping; ask another one", code="E-SERVER-BUSY")
        if not service.ready:
            raise LimbeckError("service: is still loading its encoders; ask again", code="E-SERVER-BUSY")
        return Health(status="ready")

    @router.get("/info")
    async def info() -> Info:
        """Describe the service and its indexes."""
        indexes = [describe(served.current) for served in service.indexes.values()]
        return Info(version=__version__, indexes=indexes)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return what Prometheus reads."""
        now = (served.current for served in service.indexes.values())
        text = service.metrics.text((one.name, len(one.index), one.generation) for one in now)
        return Response(text, media_type=CONTENT_TYPE)

    return router


def describe(opened: Opened) -> IndexInfo:
    """Describe an index."""
    from limbeck.index.ann_index import derived_names

    store = opened.index.store
    space, kept, sure = store.space, store.kept, opened.index.calibration
    reads = {
        modality: kind for entry in store.manifest.encoders for modality, kind in entry.modalities.items()
    }
    bits = 8 * space.width if space.storage == "codes" else None
    return IndexInfo(
        name=opened.name,
        items=len(store),
        space=space.to_json(),
        bits=bits,
        score_name=space.score_name,
        generation=opened.generation,
        text=reads.get("text") == "text",
        pictures=reads.get("image") == "pixels",
        engines=["exact", *derived_names(store.path)],
        has_media=opened.media is not None,
        cones=space.has_cones,
        prefixes=[] if bits is None else [1 << n for n in range(3, bits.bit_length()) if 1 << n < bits],
        confidence={} if sure is None else {name: curve.describe() for name, curve in sure.curves.items()},
        kept=None if kept is None else kept.describe(),
    )
