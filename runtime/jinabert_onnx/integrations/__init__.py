"""Classes for frameworks, each in a module that needs its framework: `langchain`, `llama_index`, `chroma`.

They translate names and types; `encoder` asks the model, and knows no framework.
"""
