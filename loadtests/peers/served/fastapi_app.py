"""FastAPI as one writes it by hand when it has to be fast: raw body, orjson, no pydantic model, no thread."""

import numpy as np
import orjson
import trees
from fastapi import FastAPI, Request, Response

app = FastAPI()
predict = trees.load()


@app.get("/ready")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/predict")
async def answer(request: Request) -> Response:
    rows = np.asarray(orjson.loads(await request.body())["instances"], np.float32)
    body = orjson.dumps({"predictions": predict(rows)}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")
