"""An embeddings server: `jinabert-onnx serve`. Needs the extra `server`.

connection ──protocol──▶ guard ──▶ app ──api──▶ Work ──scheduler (lanes)──▶ session ──▶ Work ──api──▶ response

One process has one model, one session and its threads. `serving` is the only module that knows uvicorn, with
`protocol`; `app` the only one that knows FastAPI.
"""
