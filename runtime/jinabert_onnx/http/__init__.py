"""Embeddings over HTTP, as OpenAI's and Jina's clients speak: what a server and serverless functions share.

request bytes ──schema──▶ EmbeddingsRequest ──embeddings──▶ Work (rows of token ids) ··model··▶ Work.answer() ──▶ body

Knows nothing of HTTP itself, of queues or of threads. Needs the extra `server` or `serverless`.
"""
