"""Classes for frameworks, each in a module that needs its framework: `langchain`, `llama_index`, `chroma`,
`haystack`.

They translate names and types; `encoder` and `reranker` ask the model, and know no framework.
"""
