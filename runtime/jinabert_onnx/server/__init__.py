"""An embeddings server: `jinabert-onnx serve`. Needs the extra `server`.

request ──middlewares──▶ app ──http──▶ Work ──scheduler (fair_queue)──▶ session ──▶ Work ──http──▶ answer

One process has one model, one session and its threads. `app` puts the middlewares around the routes; it is the only
module that knows FastAPI. `serving`, `draining` and `protocol` are the only ones that know uvicorn.
"""
