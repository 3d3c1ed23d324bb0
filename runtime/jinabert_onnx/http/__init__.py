"""Embeddings and reranking over HTTP, as OpenAI's, Jina's and Cohere's clients speak: what server and functions share.

request bytes ──parsing, *_schema──▶ request ──served: which model?──▶ Served
──embeddings, reranking──▶ Work (rows of token ids) ··model··▶ Work.answer() ──▶ response bytes

Knows nothing of HTTP itself, of queues or of threads. Needs the extra `server` or `serverless`.
"""
