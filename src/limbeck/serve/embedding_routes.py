"""The route ``/v1/embeddings``, in the form of OpenAI's API."""

from __future__ import annotations

import base64
from typing import Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from limbeck.errors import LimbeckError
from limbeck.search import Term
from limbeck.serve.answering import Opened, fast_json
from limbeck.serve.schemas import FAULTS
from limbeck.serve.service import Service
from limbeck.serve.uploads import Uploads
from limbeck.typed import Json

MOST = 256


class Picture(BaseModel):
    """A picture file in base64."""

    model_config = ConfigDict(extra="forbid")

    image: str


class EmbeddingsBody(BaseModel):
    """The JSON of ``POST /v1/embeddings``."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"input": ["two dogs on a beach"], "model": "pictures"}}
    )

    input: str | list[str] | list[Picture] = Field(description="One text, texts, or pictures; at most 256.")
    model: str | None = Field(None, description="The name of the index; by default the first one.")
    encoding_format: Literal["float", "base64"] = "float"


class Embedding(BaseModel):
    """One vector: numbers, or float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Counts tokens, which this service does not."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """The answer: one vector per input, in the order of the inputs."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


def embedding_routes(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter(tags=["embeddings"], responses=FAULTS)

    @router.post("/v1/embeddings", responses={200: {"model": EmbeddingsAnswer}})
    async def embeddings(body: EmbeddingsBody) -> Response:
        """Return vectors of texts or pictures: points, or the numbers whose signs are the codes."""
        inputs = [body.input] if isinstance(body.input, str) else body.input
        if not 1 <= len(inputs) <= MOST:
            raise LimbeckError(f"input: has {len(inputs)} inputs; give 1 to {MOST}", code="E-OPTION-RANGE")
        opened, pixels = service.at(body.model).current, service.settings.guard.pixels

        def encode() -> str:
            uploads = Uploads(pixels)
            asked = [one if isinstance(one, str) else uploads.admit_base64(one.image) for one in inputs]
            terms = [Term(one) if isinstance(one, str) else Term(image=one.decode()) for one in asked]
            return fast_json(_answer(opened, terms, body.encoding_format))

        async with service.pictures:
            return Response(await service.aside(encode), media_type="application/json")

    return router


def _answer(opened: Opened, terms: list[Term], form: str) -> dict[str, Json]:
    codes = opened.index.space.storage == "codes"
    vectors = opened.index.encode_queries([[term] for term in terms], asymmetric=codes)[0]
    data = []
    for number, vector in enumerate(np.asarray(vectors, "<f4")):
        value = vector.tolist() if form == "float" else base64.b64encode(vector.tobytes()).decode()
        data.append({"object": "embedding", "index": number, "embedding": value})
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return {"object": "list", "data": data, "model": opened.name, "usage": usage}
