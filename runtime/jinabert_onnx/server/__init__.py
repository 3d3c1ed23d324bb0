"""A server of embeddings and reranking: `jinabert-onnx serve`. Needs the extra `server`.

request ──middlewares──▶ routes ──http──▶ Work ──scheduler (queues)──▶ session ──▶ Work ──http──▶ answer

One process has one or more models, each with a session, and two workers for them all. `app` puts the middlewares around
the routes; it, `routes` and `probes` are the only modules that know FastAPI. `serving`, `draining` and `protocol` are
the only ones that know uvicorn.
"""
