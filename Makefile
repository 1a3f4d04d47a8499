# Everything that people and CI run. Needs Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin
GENERATE_BIN := .venv-generate/bin
DEPLOY_BIN := .venv-deploy/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
API := protos
GATEWAY := gateway
OBSERVABILITY := deploy/observability
KUBERNETES := deploy/kubernetes
OPENAPI := docs/openapi.json
REFERENCE := docs/grpc.md
PROTOS = $(wildcard $(API)/peermentor/v1/*.proto)
SERVER := $(BIN)/peermentor-server

# Whatever the surroundings say: each process would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve migrate demo test torture bench costs check generate format dist release lock clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

serve: .venv/serve.stamp  ## Run gRPC and REST, on SQLite unless PEERMENTOR_DATABASE_URL says otherwise
	@exec $(SERVER) serve

migrate: .venv/serve.stamp  ## Bring the schema of the database up to date
	@exec $(SERVER) migrate

demo: .venv/serve.stamp  ## Load sample people, assignments and templates into an empty database
	@exec $(SERVER) demo

test: .venv/dev.stamp .venv-generate/stamp .venv/pgbouncer.stamp .venv/prometheus.stamp  ## Run every test, with a real PostgreSQL and a real Envoy
	@rm -f .coverage .coverage.*
	$(if $(COVERAGE),$(BIN)/coverage run -m,$(BIN)/python -m) pytest -n auto --dist worksteal $(PYTEST_ARGS)
	@$(if $(COVERAGE),$(BIN)/coverage combine --quiet && $(BIN)/coverage report)

torture: .venv/dev.stamp .venv/pgbouncer.stamp dist  ## Run the tests of reliability and of the gateway in their long form, for about an hour
	TORTURE=1 $(BIN)/pytest -rP -n auto --timeout 7200 \
		tests/reliability tests/gateway tests/supervise/test_serve.py tests/rules/test_time_zones.py tests/deploy/test_container.py $(PYTEST_ARGS)

bench: .venv/serve.stamp .venv-bench/stamp  ## Measure the service beside its peers; needs wrk and h2load (see bench/README.md)
	@PYTHONPATH=$(CLIENT) .venv-bench/bin/python -W "ignore:XDG_RUNTIME_DIR is not set" -m bench $(BENCH_ARGS)

costs: .venv/dev.stamp  ## Write anew what each RPC may cost, in statements, round trips and calls of functions
	COSTS=rewrite $(BIN)/pytest -q tests/performance/test_costs.py
	@git --no-pager diff --stat tests/performance/costs.txt

check: .venv/dev.stamp .venv-generate/stamp  ## Lint, types, imports, dependencies, protos, generated code, gateway
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=server:$(CLIENT) $(GENERATE_BIN)/lint-imports
	$(BIN)/python -m pip check
	$(MAKE) --no-print-directory check-client-types check-protos check-generated
	$(BIN)/envoy --mode validate --log-level warning -c envoy.yaml

.PHONY: check-deploy
check-deploy: .venv/serve.stamp .venv/systemd.stamp .venv-deploy/stamp  ## Verify what deploy/ has for running the service elsewhere
	sh deploy/systemd/check.sh
	$(DEPLOY_BIN)/hadolint deploy/container/Containerfile
	$(DEPLOY_BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/container/compose.yaml
	$(DEPLOY_BIN)/python $(KUBERNETES)/check.py

.PHONY: check-client-types
# All public types of the client are known to the users of pyright, which finds it by PATH alone;
# and it and mypy see mistakes in programs.
check-client-types: .venv/dev.stamp
	@mkdir -p build
	@export PATH="$(CURDIR)/$(BIN):$$PATH"; \
		basedpyright --verifytypes peermentor --ignoreexternal >build/types.txt || { cat build/types.txt; exit 1; }
	$(BIN)/pytest -q tests/client/check_types.py

format: .venv/dev.stamp  ## Format the code and sort its imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

dist: .venv/serve.stamp  ## Build the wheels and source distributions of server and client into dist/
	@rm -rf dist
	$(BIN)/hatchling build -d $(CURDIR)/dist
	cd clients/python && $(CURDIR)/$(BIN)/hatchling build -d $(CURDIR)/dist

release:  ## Set VERSION, which the changelog must have, build the wheels, and say what to tag
	@$(PYTHON) .ci/release.py "$(VERSION)"
	@$(MAKE) --no-print-directory dist
	@echo "Commit this, run .ci/run, and tag that commit: git tag -a v$(VERSION) -m 'peermentor $(VERSION)'"

.PHONY: check-wheel
check-wheel: .venv/dev.stamp dist  ## Run the client's tour with its wheel alone, on the oldest and newest it allows
	@mkdir -p build
	@$(BIN)/uv pip compile --quiet --no-build-isolation --no-header --resolution lowest-direct \
		clients/python/pyproject.toml -o build/oldest.txt
	@for needs in "" "-c build/oldest.txt"; do \
		rm -rf build/wheel && $(PYTHON) -m venv build/wheel && \
		build/wheel/bin/python $(PIP_INSTALL) dist/peermentor-*.whl $$needs && \
		WHEEL_PYTHON=$(CURDIR)/build/wheel/bin/python $(BIN)/pytest -q tests/client/test_readme.py || exit 1; \
	done

.PHONY: test-browser
test-browser: .venv/browser.stamp  ## Test the page /docs in a real browser; needs Chromium
	@command -v chromium >/dev/null || { \
		echo "Chromium is needed for this: install it, as by apt-get install chromium" >&2; exit 1; }
	$(BIN)/python -m pytest tests/browser $(PYTEST_ARGS)

TYPESCRIPT := clients/typescript
.PHONY: test-typescript
test-typescript: .venv/dev.stamp $(TYPESCRIPT)/node_modules/stamp  ## Test the TypeScript example with a real server; needs Node 20
	@rm -rf $(TYPESCRIPT)/dist
	cd $(TYPESCRIPT) && $(CURDIR)/$(BIN)/buf generate
	cd $(TYPESCRIPT) && node_modules/.bin/tsc
	cd $(TYPESCRIPT) && SERVER=$(CURDIR)/$(SERVER) node --test --test-reporter=spec dist/test/example.test.js

# --- The OpenAPI description, as others read it: .ci/openapi -------------------------------

OUTSIDE := .ci/openapi
OPENAPI_BIN := $(CURDIR)/.venv-openapi/bin
OPENAPI_CLIENTS := typescript/client typescript/dist go/client
WITH_SERVICE = PYTHONPATH=$(CURDIR)/tests $(CURDIR)/$(BIN)/python -W "ignore:XDG_RUNTIME_DIR is not set" \
	$(CURDIR)/$(OUTSIDE)/with_service.py
SCHEMATHESIS = $(OPENAPI_BIN)/schemathesis run $(CURDIR)/$(OPENAPI) $(OPENAPI_ARGS)

.PHONY: check-openapi test-openapi test-openapi-clients
# Tests read it in Python; this is a validator of others, who look closer.
check-openapi: $(OUTSIDE)/node_modules/stamp
	@REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
		$(OUTSIDE)/node_modules/.bin/redocly lint --config $(OUTSIDE)/redocly.yaml $(OPENAPI)

test-openapi: .venv/dev.stamp .venv-openapi/stamp  ## Make the calls up that the OpenAPI description allows, and hold a real service to it
	@cd $(OUTSIDE) && $(WITH_SERVICE) open $(SCHEMATHESIS)
	@cd $(OUTSIDE) && $(WITH_SERVICE) required $(SCHEMATHESIS) --phases examples,coverage

test-openapi-clients: .venv/dev.stamp .venv-openapi/stamp $(OUTSIDE)/node_modules/stamp  ## Test clients that are generated from the OpenAPI description; needs Node 20
	@rm -rf $(addprefix $(OUTSIDE)/,$(OPENAPI_CLIENTS))
	@mkdir -p build
	@$(OPENAPI_BIN)/openapi-generator-cli batch --fail-fast $(OUTSIDE)/*/generator.yaml >build/clients.txt 2>&1 || \
		{ cat build/clients.txt; exit 1; }
	$(OUTSIDE)/node_modules/.bin/tsc -p $(OUTSIDE)/typescript
	@$(WITH_SERVICE) required node --test --test-reporter=spec $(OUTSIDE)/typescript/dist/roundtrip.test.js
	@export GOCACHE=$(CURDIR)/build/go GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0; \
		$(WITH_SERVICE) required $(OPENAPI_BIN)/go -C $(OUTSIDE)/go test -v -count=1 -vet=off .

# --- Code generated from protos/ -----------------------------------------------------------

CLIENT := clients/python/src
GOOGLE_PROTOS = $(wildcard .venv-generate/lib/python3*/site-packages)
PROTOC = $(GENERATE_BIN)/python -m grpc_tools.protoc -I$(API) -I$(GOOGLE_PROTOS)

generate: .venv-generate/stamp .venv/dev.stamp  ## Write what is generated anew: code of protos/, descriptor set, the gateway's tables, OpenAPI, reference, dashboard, tier
	@rm -f $(CLIENT)/peermentor/v1/*_pb2*
	@PATH="$(CURDIR)/$(GENERATE_BIN):$$PATH" $(PROTOC) --python_out=$(CLIENT) --grpc_python_out=$(CLIENT) \
		--mypy_out=quiet,readable_stubs:$(CLIENT) --mypy_grpc_out=quiet:$(CLIENT) \
		--plugin=protoc-gen-sdk=clients/generator/plugin.py --sdk_out=$(CLIENT) $(PROTOS)
	@# Types that mypy-protobuf leaves open.
	@sed -i 's/^class _ServicerContext(.*/class _ServicerContext(grpc.ServicerContext, grpc.aio.ServicerContext[typing.Any, typing.Any]):  # type: ignore[misc]/' \
		$(CLIENT)/peermentor/v1/*_pb2_grpc.pyi
	@# ruff's own off switch, and the leave to use it.
	@sed -i '1i # ruff: noqa: PGH004\n# ruff: noqa' $(CLIENT)/peermentor/v1/*_pb2*
	@$(GENERATE_BIN)/python clients/generator/synchronous.py $(CLIENT)/peermentor
	@$(BIN)/ruff check --quiet --config pyproject.toml --select I,UP028 --fix --unsafe-fixes $(CLIENT)/peermentor
	@$(BIN)/ruff format --quiet --config pyproject.toml $(CLIENT)/peermentor
	@$(PROTOC) --include_imports --descriptor_set_out=$(API)/peermentor.binpb \
		$(PROTOS) google/rpc/error_details.proto
	@$(GENERATE_BIN)/python $(API)/gateway_contract.py $(API)/peermentor.binpb $(GATEWAY)/contract.lua
	@$(PROTOC) --include_imports --include_source_info --descriptor_set_out=/dev/stdout $(PROTOS) | \
		PYTHONPATH=$(API) $(GENERATE_BIN)/python -m describe tests/contract $(OPENAPI) $(REFERENCE)
	@$(GENERATE_BIN)/python $(OBSERVABILITY)/dashboard.py $(OBSERVABILITY)/dashboard.json
	@$(BIN)/python $(KUBERNETES)/tier.py $(KUBERNETES)/overlays/three-nodes/envoy.yaml

.PHONY: check-protos check-generated
check-protos: .venv/dev.stamp .venv-generate/stamp
	@mkdir -p build
	@$(PROTOC) --include_imports --include_source_info --descriptor_set_out=build/lint.binpb $(PROTOS)
	$(BIN)/buf lint build/lint.binpb --config protos/buf.yaml --path peermentor
	@sh protos/breaking.sh $(BIN)/buf build/lint.binpb

# What is generated, .gitattributes says.
check-generated:
	@$(MAKE) --no-print-directory generate
	@changes=$$(git status --porcelain -- ':(attr:linguist-generated)'); \
		if [ -n "$$changes" ]; then \
			echo "Generated files differ from their sources; run make generate and commit:"; \
			echo "$$changes"; exit 1; fi

# --- Virtual environments ------------------------------------------------------------------

DOCS_PAGE := gateway/docs_page
SWAGGER_UI := $(addprefix $(DOCS_PAGE)/,swagger-ui-bundle.js.gz swagger-ui.css.gz LICENSE)
SWAGGER_UI_DIST := .venv/swagger-ui/drf_spectacular_sidecar/static/drf_spectacular_sidecar/swagger-ui-dist
VERSION_FILE := clients/python/src/peermentor/_version.py
# The two distributions of this tree, in place; hatchling comes from requirements/serve.txt.
INSTALL_TREE = $(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e clients/python -e .

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON")'
	$(PYTHON) -m venv .venv

.venv/serve.stamp: requirements/serve.txt pyproject.toml clients/python/pyproject.toml hatch_build.py $(VERSION_FILE) | .venv/bin/python $(SWAGGER_UI)
	@echo "Installing what the service needs into .venv"
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/serve.txt
	@$(INSTALL_TREE)
	@touch $@

.venv/swagger-ui.stamp: requirements/swagger-ui.txt | .venv/bin/python
	@echo "Unpacking Swagger UI into .venv/swagger-ui"
	@rm -rf .venv/swagger-ui
	@$(BIN)/python $(PIP_INSTALL) --no-deps --require-hashes --target .venv/swagger-ui -r $<
	@touch $@

# What the gateway serves of it, as it is sent. Without time and name, the same has the same bytes.
$(DOCS_PAGE)/%.gz: .venv/swagger-ui.stamp
	@gzip -9nc $(SWAGGER_UI_DIST)/$* >$@

$(DOCS_PAGE)/LICENSE: .venv/swagger-ui.stamp
	@cp $(SWAGGER_UI_DIST)/LICENSE $@

.venv/dev.stamp: requirements/dev.txt .venv/serve.stamp
	@echo "Installing what tests and checks need into .venv"
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

.venv/browser.stamp: requirements/browser.txt .venv/dev.stamp
	@echo "Installing what drives a browser into .venv"
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/browser.txt
	@touch $@

# No registry of Python's has them. Without one its own tests fail, and say so.
.venv/pgbouncer.stamp .venv/prometheus.stamp: .venv/%.stamp: tests/support/unpack_package.sh | .venv/bin/python
	@command -v $* /usr/sbin/$* >/dev/null || { \
		echo "Unpacking $* into .venv/$*"; sh $< $* .venv/$*; } && touch $@ || \
		echo "$* is needed by its tests: install it, as by apt-get install $*" >&2

.venv/systemd.stamp: tests/support/unpack_package.sh | .venv/bin/python
	@command -v systemd-analyze >/dev/null || { \
		echo "Unpacking systemd-analyze into .venv/systemd"; sh $< systemd .venv/systemd; } && touch $@ || { \
		echo "systemd-analyze is needed: install it, as by apt-get install systemd" >&2; exit 1; }

.venv-generate/stamp: requirements/generate.txt
	@echo "Installing the code generator into .venv-generate"
	@test -x $(GENERATE_BIN)/python || $(PYTHON) -m venv .venv-generate
	@$(GENERATE_BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/generate.txt
	@touch $@

.venv-deploy/stamp: requirements/deploy.txt
	@echo "Installing what verifies deploy/ into .venv-deploy"
	@test -x $(DEPLOY_BIN)/python || $(PYTHON) -m venv .venv-deploy
	@$(DEPLOY_BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/deploy.txt
	@touch $@

.venv-openapi/stamp: requirements/openapi.txt
	@echo "Installing what tests the OpenAPI description into .venv-openapi"
	@test -x $(OPENAPI_BIN)/python || $(PYTHON) -m venv .venv-openapi
	@$(OPENAPI_BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/openapi.txt
	@touch $@

# node_modules is laid anew by `npm ci`, and the stamp goes with it.
%/node_modules/stamp: %/package.json %/package-lock.json %/.npmrc
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null || \
		{ echo "Node 20 or newer, with npm, is needed for this"; exit 1; } >&2
	@echo "Installing what $*/package.json names into $*/node_modules"
	@cd $* && npm ci --loglevel=error
	@touch $@

.venv-bench/stamp: bench/requirements.txt
	@echo "Installing what the benchmark needs into .venv-bench"
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python $(PIP_INSTALL) --require-hashes -r bench/requirements.txt
	@touch $@

# The project's own packages are read, and not pinned: INSTALL_TREE installs them.
LOCK = $(BIN)/uv pip compile --quiet $(LOCK_ARGS) --universal --python-version 3.11 --no-build-isolation \
	--generate-hashes --no-emit-package peermentor --no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock: LOCK_ARGS = --upgrade
lock: .venv/dev.stamp  ## Pin the newest versions of all dependencies in requirements/*.txt
	$(LOCK) pyproject.toml --group tree -o requirements/serve.txt
	$(LOCK) pyproject.toml --extra otel --group tree --group dev -c requirements/serve.txt -o requirements/dev.txt
	$(LOCK) --group generate -o requirements/generate.txt
	$(LOCK) --no-deps --group swagger-ui -o requirements/swagger-ui.txt
	$(LOCK) --group browser -c requirements/dev.txt -o requirements/browser.txt
	$(LOCK) --group deploy -o requirements/deploy.txt
	$(LOCK) --group openapi -o requirements/openapi.txt
	$(LOCK) --group bench -c requirements/dev.txt -o bench/requirements.txt

clean:  ## Remove the virtual environments and everything built
	rm -rf .venv .venv-generate .venv-deploy .venv-openapi .venv-bench build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
	rm -rf $(SWAGGER_UI) $(addprefix $(TYPESCRIPT)/,node_modules src/gen dist)
	rm -rf $(addprefix $(OUTSIDE)/,node_modules $(OPENAPI_CLIENTS))
