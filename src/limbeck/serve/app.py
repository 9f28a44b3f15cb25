"""Builds the application: routes, errors and the life of the service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute

from limbeck import __version__
from limbeck.serve.collection_routes import collection_routes
from limbeck.serve.direct import direct
from limbeck.serve.embedding_routes import embedding_routes
from limbeck.serve.errors import install
from limbeck.serve.guard import add_guard
from limbeck.serve.hierarchy_routes import hierarchy_routes
from limbeck.serve.media_routes import media_routes
from limbeck.serve.page_files import page_routes
from limbeck.serve.search_routes import search_routes
from limbeck.serve.service import Service
from limbeck.serve.settings import Settings
from limbeck.serve.status_routes import status_routes

_ROUTES = (
    search_routes,
    media_routes,
    collection_routes,
    hierarchy_routes,
    embedding_routes,
    status_routes,
)


def create_app(indexes: Sequence[Path | str], settings: Settings | None = None) -> FastAPI:
    """Return the ASGI application that serves indexes; ``app.state.service`` is their `Service`.

    Args:
        indexes: index directories; requests name them by the last part of their path.
        settings: how to answer; by default as `Settings`.

    Raises:
        LimbeckError: there is no index, two have one name, or one is damaged.
    """
    settings = settings or Settings()
    service = Service(indexes, settings)

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        watching = asyncio.create_task(service.watch())
        yield
        service.draining = True
        watching.cancel()
        service.close()

    app = FastAPI(
        title="limbeck",
        version=__version__,
        description="Search collections by text, picture and item.",
        lifespan=life,
        docs_url=None,  # it loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    install(app, service.public)
    routers = [routes(service) for routes in _ROUTES]
    search = next(route for router in routers for route in router.routes if isinstance(route, APIRoute))
    app.router.routes.insert(0, direct(search))
    for router in routers:
        app.include_router(router)
    app.include_router(page_routes())
    add_guard(app, settings.guard, service.metrics)
    return app
