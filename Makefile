# `make demo`, `make test` and `make test-integrations` work on a fresh machine with Python 3.11 or later; everything they
# need goes into build/ and virtual environments beside this file, and `make clean` removes it all.
#
# requirements/NAME.in says what an environment holds, requirements/NAME.txt in which releases.

PYTHON ?= python3
TORCH := torch==2.13.0
BUNDLES := build/bundles
SOURCES = $(shell find runtime export -name '*.py' -o -name '*.json')
KERNEL_SOURCES = $(shell find native -type f -not -name '*.pyc')

# The longest first: two run at a time, and each one's output comes when it ends. Servers under overload run alone.
SUITES_OF_TEST := test-export test-kernels test-runtime lint test-serverless test-bench
SUITES_OF_INTEGRATIONS := test-lowest test-eval test-readers test-commands test-docs test-corpus test-ray test-optimum \
	test-frameworks test-examples test-deploy test-clients test-peers test-lowest-bench test-site
side_by_side = $(MAKE) --jobs=2 --output-sync=target

.PHONY: demo test test-integrations environments peers docs lock clean chromium bundles $(SUITES_OF_TEST) $(SUITES_OF_INTEGRATIONS) \
	test-server test-lowest-server test-qemu

demo: .venv/ready
	.venv/bin/jinabert-onnx demo tests/data/tiny-de-en build/demo-bundle

test: ; @echo 'two suites run at a time; each tells its result when it ends' && $(side_by_side) $(SUITES_OF_TEST) && $(MAKE) test-server

test-integrations: ; @echo 'two suites run at a time; each tells its result when it ends' && $(side_by_side) $(SUITES_OF_INTEGRATIONS) && $(MAKE) test-lowest-server

# Processes share the cores: threads of torch that wait must not spin, and modules are compiled at their first import only,
# whatever the environment says (importing torch and onnxscript without compiled modules takes 6 s instead of 2).
export OMP_WAIT_POLICY := passive
unexport PYTHONDONTWRITEBYTECODE

# How long a recipe took, in build/times.tsv.
timed = $(PYTHON) tests/timed.py $@

lint: .venv/ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/lint-imports --no-cache > build/imports.txt || { cat build/imports.txt; exit 1; }
	$(timed) .venv/bin/mypy

test-export: .venv/ready
	$(timed) .venv/bin/python -m pytest -n 2 --dist loadfile tests/export

# From the built wheel, where neither torch nor onnx is installed.
test-runtime: .venv-wheel/ready $(BUNDLES)/ready
	$(timed) .venv-wheel/bin/python -m pytest tests/runtime

# The native kernels: in C++ with and without sanitizers, then in real bundles, with torch in float64 beside them.
test-kernels: .venv/ready $(BUNDLES)/ready
	build/tools/bin/python native/run_tests.py build/kernels-tests > build/kernels-tests.txt 2>&1 || { cat build/kernels-tests.txt; exit 1; }
	$(timed) .venv/bin/python -m pytest tests/kernels

# Before a release: the kernels as a Haswell (AVX2) and as aarch64 (NEON), under qemu-user.
test-qemu: .venv/ready $(BUNDLES)/ready
	$(timed) build/tools/bin/python native/run_under_qemu.py build/qemu

test-server: .venv-wheel/ready $(BUNDLES)/ready
	$(timed) .venv-wheel/bin/python -m pytest tests/server

test-serverless: .venv-wheel/ready $(BUNDLES)/ready
	$(timed) .venv-wheel/bin/python -m pytest tests/serverless

test-bench: .venv/ready $(BUNDLES)/ready
	$(timed) .venv/bin/python -m pytest tests/bench

# With the lowest releases of all dependencies.
test-lowest: .venv-lowest/ready $(BUNDLES)/ready
	$(timed) .venv-lowest/bin/python -m pytest -m 'not standard_library' tests/runtime

test-lowest-server: .venv-lowest/ready $(BUNDLES)/ready
	$(timed) .venv-lowest/bin/python -m pytest tests/server

test-lowest-bench: .venv-lowest/ready $(BUNDLES)/ready
	$(timed) .venv-lowest/bin/python -m pytest tests/bench

# Files of any size, real processes killed on the way.
test-corpus: .venv/ready $(BUNDLES)/ready
	$(timed) .venv/bin/python -m pytest tests/corpus

# The measuring commands of the documentation, with a small model.
test-commands: .venv/ready $(BUNDLES)/ready
	$(timed) .venv/bin/python -m pytest tests/commands

# What the pages say runs.
test-docs: .venv/ready $(BUNDLES)/ready
	$(timed) .venv/bin/python -m pytest tests/docs --ignore tests/docs/site

test-optimum: .venv-optimum/ready
	$(timed) .venv-optimum/bin/python -m pytest tests/integrations

# The reports of `jinabert-onnx eval`, among them tasks that run through the real mteb.
test-eval: .venv-eval/ready $(BUNDLES)/ready
	$(timed) .venv-eval/bin/python -m pytest tests/eval

# Peers of benchmarks/side_by_side.py. Its tests need one of them, the rest is for measuring.
test-peers: .venv/ready .venv-peers-fastembed/ready $(BUNDLES)/ready
	$(timed) .venv/bin/python -m pytest tests/peers

# Other programs read bundles as exported, by the snippets of docs/, each in the peers' environments.
test-readers: .venv/ready .venv-peers-fastembed/ready .venv-peers-node/ready .venv-peers-transformers/ready $(BUNDLES)/ready
	$(timed) .venv/bin/python -m pytest tests/readers

# The steps of the Dockerfiles, without an engine, and the files of deploy/ and .github/ against their schemas.
test-deploy: .venv-apps/ready $(BUNDLES)/ready
	$(timed) .venv-apps/bin/python -m pytest -p no:asyncio tests/deploy

# Other projects' clients, and an API fuzzer, against a live server.
test-clients: .venv-apps/ready $(BUNDLES)/ready
	$(timed) .venv-apps/bin/python -m pytest -p no:asyncio tests/clients

# Classes for LangChain, LlamaIndex, Chroma and Haystack, with the real packages, against whose types they are checked.
test-frameworks: .venv/ready .venv-apps/ready $(BUNDLES)/ready
	.venv/bin/mypy --python-executable .venv-apps/bin/python runtime/jinabert_onnx/integrations/*.py
	$(timed) .venv-apps/bin/python -m pytest tests/frameworks

# Corpora on a cluster of several Ray nodes in this machine. The engine is checked for types where Ray is installed.
test-ray: .venv/ready .venv-apps/ready $(BUNDLES)/ready
	.venv/bin/mypy --python-executable .venv-apps/bin/python runtime/jinabert_onnx/corpus/ray_*.py
	$(timed) .venv-apps/bin/python -m pytest -p no:asyncio tests/ray

# The programs of examples/, one of them in headless Chromium. They are checked for types where DuckDB is installed.
test-examples: chromium .venv/ready .venv-apps/ready .venv-examples-node/ready $(BUNDLES)/ready
	.venv/bin/mypy --python-executable .venv-apps/bin/python examples/search/search.py
	$(timed) .venv-apps/bin/python -m pytest -p no:asyncio tests/examples

# The documentation site holds together.
test-site: .venv-apps/ready
	$(timed) .venv-apps/bin/python -m pytest -p no:asyncio tests/docs/site

# The site, in build/site: warnings are errors, and building takes no network. The theme's advice on mkdocs 2 is no warning.
docs: .venv-apps/ready
	NO_MKDOCS_2_WARNING=1 .venv-apps/bin/python -m mkdocs build --strict --quiet

peers: .venv-peers-fastembed/ready .venv-peers-node/ready .venv-peers-openvino/ready .venv-peers-transformers/ready

environments: .venv/ready .venv-wheel/ready .venv-lowest/ready .venv-apps/ready .venv-optimum/ready .venv-eval/ready \
	.venv-peers-fastembed/ready .venv-peers-transformers/ready .venv-peers-node/ready .venv-examples-node/ready

# uv installs; the pip beside it downloads torch, since uv finds only the builds with CUDA, which take gigabytes.
build/tools/ready:
	$(PYTHON) -m venv --clear build/tools
	build/tools/bin/pip install -q uv==0.13.9 cmake==4.4.5 ninja==1.13.2
	touch $@

# PyTorch's own index has builds without CUDA; used where it answers.
CPU_INDEX := https://download.pytorch.org/whl/cpu
torch_index = $(shell $(PYTHON) -c "import urllib.request as u; u.urlopen('$(CPU_INDEX)/torch/', timeout=5)" \
	2>/dev/null && echo --extra-index-url $(CPU_INDEX))

build/torch/constraint.txt: build/tools/ready
	rm -rf build/torch
	build/tools/bin/pip download -q --no-deps -d build/torch $(torch_index) $(TORCH)
	echo "torch @ file://$$(ls $(CURDIR)/build/torch/*.whl)" > $@

build/dist/constraint.txt: build/tools/ready $(SOURCES) pyproject.toml README.md
	rm -rf build/dist
	build/tools/bin/uv build -q --wheel --out-dir build/dist
	echo "jinabert-onnx @ file://$$(ls $(CURDIR)/build/dist/*.whl)" > $@

# It says in one line what it built; the compiler is the machine's own, or one from PyPI.
build/kernels/constraint.txt: build/tools/ready $(KERNEL_SOURCES)
	rm -rf build/kernels
	build/tools/bin/python native/build_wheel.py build/kernels
	echo "jinabert-onnx-kernels @ file://$$(ls $(CURDIR)/build/kernels/*.whl)" > $@

# An environment named $(1), with the releases of requirements/$(1).txt and the local files that $(2) names.
define install
	build/tools/bin/uv venv -q --clear --python $(PYTHON) $(@D)
	build/tools/bin/uv pip install -q --python $(@D) -r requirements/$(1).in -c requirements/$(1).txt $(addprefix -c ,$(2))
	touch $@
endef

.venv/ready: requirements/dev.in requirements/dev.txt pyproject.toml build/torch/constraint.txt build/kernels/constraint.txt
	$(call install,dev,build/torch/constraint.txt build/kernels/constraint.txt)

.venv-eval/ready .venv-optimum/ready .venv-peers-fastembed/ready .venv-peers-openvino/ready .venv-peers-transformers/ready: \
		.venv-%/ready: requirements/%.in requirements/%.txt pyproject.toml build/torch/constraint.txt
	$(call install,$*,build/torch/constraint.txt)

.venv-apps/ready: requirements/apps.in requirements/apps.txt build/dist/constraint.txt
	$(call install,apps,build/dist/constraint.txt)

.venv-lowest/ready .venv-wheel/ready: .venv-%/ready: requirements/%.in requirements/%.txt build/dist/constraint.txt \
		build/kernels/constraint.txt
	$(call install,$*,build/dist/constraint.txt build/kernels/constraint.txt)

# What requirements/*.in asks for and the releases beside it do not have. `make lock UPGRADE=--upgrade` takes the newest of
# all; the lowest are written by hand.
lock: build/torch/constraint.txt build/dist/constraint.txt build/kernels/constraint.txt
	$(call compile,dev,build/torch/constraint.txt build/kernels/constraint.txt)
	$(call compile,eval optimum peers-fastembed peers-openvino peers-transformers,build/torch/constraint.txt)
	$(call compile,wheel apps,build/dist/constraint.txt build/kernels/constraint.txt)
	sed -i 's|^torch @ .*|$(TORCH)|; /^-e /d' requirements/*.txt

compile = for name in $(1); do build/tools/bin/uv pip compile -q $(UPGRADE) --python $(PYTHON) --no-annotate --no-header \
	--no-emit-package jinabert-onnx --no-emit-package jinabert-onnx-kernels $(addprefix -c ,$(2)) requirements/$$name.in -o requirements/$$name.txt || exit; done

# onnxruntime-node would fetch the CUDA provider.
.venv-peers-node/ready: benchmarks/peers/node/package.json benchmarks/peers/node/package-lock.json
	rm -rf .venv-peers-node
	mkdir .venv-peers-node
	cp $^ .venv-peers-node
	ONNXRUNTIME_NODE_INSTALL=skip npm --prefix .venv-peers-node ci --silent
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

bundles: $(BUNDLES)/ready

$(BUNDLES)/ready: .venv/ready $(SOURCES) tests/make_bundles.py
	rm -rf $(BUNDLES)
	.venv/bin/python tests/make_bundles.py $(BUNDLES)
	touch $@

clean:
	rm -rf build .venv .venv-*
