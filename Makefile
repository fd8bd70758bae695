# Every target does its own set-up: Python 3.11+, make, git and CA certificates are all that a machine needs.
#   make run     build the image, boot it, attest it, leave it answering, prove   make stop    end it
#   make test    the tests (at most 20 minutes on 2 cores, 8 boots)           make quick   the fast ones
#   make check   format, lint, types, import contracts, documents             make bench   figures beside peers'

PYTHON ?= python3
BIN := .venv/bin
DEFINITION := image/notary
DIST := build/dist
PORT ?= 8443
PROVE_PORT ?= 8445
SITE = $(BIN)/python docs/examples/site.py --certificate $(DEFINITION)/debug/site.crt --key $(DEFINITION)/debug/site.key
PROVE = $(BIN)/pluto-notary prove --notary https://127.0.0.1:$(PROVE_PORT) --manifest docs/examples/site-manifest.json
JUDGES := --reference build/debug-reference.json --policy docs/examples/debug-policy.toml
# A release is built from a clean tree only; a changed one gives the debug flavour, which says so of itself.
FLAVOUR ?= $(shell if git status --porcelain -- image measure notary deploy requirements \
	pyproject.toml Makefile README.md LICENSE 2>/dev/null | grep -q .; \
	then echo debug; else echo release; fi)
PYTEST := $(BIN)/python -m pytest -q
WORKERS ?= auto
PYTEST_ON_ALL := $(PYTEST) -n $(WORKERS)

.PHONY: run stop prove tutorial-verifier tutorial-operator test test-image test-kills test-boots test-root test-root-more soak quick check format coverage docs bench build harvest inputs stubs peers fuzz fuzz-guided requirements clean

run: build
	@$(BIN)/pluto-measure predict $(DIST) --profile bare-metal --profile google --registers
	@$(BIN)/pluto-deploy local $(DIST) --port $(PORT)
	@$(MAKE) --no-print-directory prove

stop: .venv/.run
	@$(BIN)/pluto-deploy local $(DIST) --stop

# A proof of what a site of this computer says, in each mode, by a debug image: only that one asks such sites. Its machine
# is ended.
prove: .venv/.run
	@$(BIN)/pluto-image build $(DEFINITION) --out build/debug --flavour debug --relock build/relock
	@$(BIN)/pluto-measure predict build/debug --platform qemu-vtpm --measurements build/debug-reference.json >/dev/null
	@$(BIN)/pluto-deploy local build/debug --state build/debug-state --port $(PROVE_PORT)
	@$(SITE) -- $(PROVE) --out build/proof.json $(JUDGES)
	@$(BIN)/pluto-notary verify-proof build/proof.json --manifest docs/examples/site-manifest.json $(JUDGES)
	@$(SITE) -- $(PROVE) --mode observe --roots $(DEFINITION)/debug/root.crt --out build/observed.json $(JUDGES)
	@$(BIN)/pluto-notary verify-proof build/observed.json --mode observe --manifest docs/examples/site-manifest.json $(JUDGES)
	@$(BIN)/pluto-deploy local build/debug --state build/debug-state --stop

build: .venv/.run
	@$(BIN)/pluto-image build $(DEFINITION) --out $(DIST) --flavour $(FLAVOUR) --relock build/relock

# All that the tests need from the network: the locked inputs of the image and of the tools tree, the builder's wheels.
inputs: .venv/.dev
	@$(BIN)/pluto-image fetch $(DEFINITION) --builder --relock build/relock

# Other people's programs that second opinions come from, built from pinned sources where Go and Cargo are at hand.
peers: .venv/.dev
	@$(BIN)/python tests/interop/prepare.py

# The folders that the tutorials of the verifier and of the operator begin with.
tutorial-verifier: .venv/.dev
	@PYTHONPATH=tests $(BIN)/python tests/documents/folders.py verifier build/tutorial/verifier

tutorial-operator: inputs
	@PYTHONPATH=tests $(BIN)/python tests/documents/folders.py operator build/tutorial/operator

# What QEMU makes for the machines of platforms.toml, from the locked QEMU under emulation: a few minutes, no privilege.
harvest: .venv/.run
	@$(BIN)/pluto-image tools $(DEFINITION) --out build/harvest --relock build/relock >/dev/null
	@$(BIN)/pluto-measure acpi harvest --kit build/harvest \
		--platforms $(DEFINITION)/platforms.toml --table $(DEFINITION)/platform-inputs.json

test: inputs
	$(PYTEST_ON_ALL) -m "not more_boots and not more_image and not more_kills and not root and not online" $(T)

# All tests of the notary under the interpreter and libraries of the image; `make test` has a choice of them.
test-image: inputs
	$(PYTEST) -m more_image $(T)

# Deployments in clouds, killed or refused at every change that a command makes; `make test` has some of them.
test-kills: .venv/.dev
	$(PYTEST_ON_ALL) -m more_kills $(T)

# Other versions of systemd-stub, which the further boots are started with.
stubs: .venv/.dev
	@$(BIN)/python tests/end_to_end/stub_packages.py

test-boots: inputs stubs
	$(PYTEST) -m "more_boots and not root" $(T)

test-root: inputs
	$(PYTEST) -m "root and not more_boots and not more_root" $(T)

# Hosts that fail, are cut off, killed and refused at every step: about ten minutes.
test-root-more: inputs
	$(PYTEST) -m more_root $(T)

# Good and hostile load on one notary: ten minutes; `make test` has twenty seconds of it.
soak: .venv/.dev
	$(BIN)/python tests/soak/run.py $(SECONDS)

quick: .venv/.dev
	$(PYTEST_ON_ALL) -m "not slow and not boot and not more_boots and not more_kills and not root and not online and not interop" $(T)

fuzz: .venv/.dev
	PLUTO_FUZZ_EXAMPLES=20000 $(PYTEST) tests/fuzz

# One target with guidance by the branches that an input takes: make fuzz-guided TARGET=quote SECONDS=60
fuzz-guided: .venv/.dev
	@test -d build/fuzz-atheris || $(BIN)/python -m pip install -q --no-deps --target build/fuzz-atheris \
		--require-hashes --only-binary :all: -r tests/fuzz/requirements.txt
	PYTHONPATH=build/fuzz-atheris $(BIN)/python tests/fuzz/guided.py $(TARGET) -max_total_time=$(or $(SECONDS),60)

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(PYTEST) tests/architecture

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Branches of what computes measurements, and of what verifies and appraises, without the folder of real data.
# coverage.py rounds to whole per cent.
coverage: .venv/.dev
	PLUTO_VECTORS=none COVERAGE_FILE=build/coverage $(BIN)/python -m coverage run -m pytest -q \
		-m "not interop and not slow" tests/measure tests/fuzz tests/architecture
	COVERAGE_FILE=build/coverage $(BIN)/python -m coverage report --fail-under=95 \
		--include='measure/pluto_measure/predict/*,measure/pluto_measure/formats/*,measure/pluto_measure/machine/*,measure/pluto_measure/registers/*'
	COVERAGE_FILE=build/coverage $(BIN)/python -m coverage report --fail-under=96 \
		--include='measure/pluto_measure/verify/*,measure/pluto_measure/appraise/*,measure/pluto_measure/policy/*,measure/pluto_measure/collateral/*,measure/pluto_measure/registers/reference.py,measure/pluto_measure/publish/*'

# Pages that are made of the code; the tests compare them.
docs: .venv/.dev
	$(BIN)/pluto-measure events --markdown > build/measurements.md && mv build/measurements.md docs/measurements.md
	$(BIN)/python tests/architecture/command_pages.py

bench: inputs
	$(BIN)/python tests/bench/run.py $(BENCH)

# Pins move only here: newest versions that satisfy pyproject.toml, each with the hashes of all its files; then the
# wheels that a bundle carries, as pip chooses them for every supported Python and platform.
requirements: .venv/.dev
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras \
		--python-version 3.11 --extra image --extra notary --group build pyproject.toml -o requirements/run.txt
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras \
		--python-version 3.11 --extra all --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras \
		--python-version 3.11 --extra image --extra notary --extra publish --group build \
		--constraint requirements/dev.txt pyproject.toml -o requirements/publish.txt
	$(BIN)/python -m requirements.lock_wheels

clean:
	rm -rf build .venv

# Decided by content, not by time: bootstrap.py returns at once where .venv is current.
.PHONY: .venv/.run .venv/.dev
.venv/.run:
	@$(PYTHON) requirements/bootstrap.py run
.venv/.dev:
	@$(PYTHON) requirements/bootstrap.py dev
