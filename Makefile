# Carom. `make help` lists the targets; only GNU make is needed to read this file, and what the rest needs is told by
# `make prereq`. Tools come from the tool lines of go.mod.

MAKEFLAGS += --no-print-directory
SHELL     := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
.NOTPARALLEL: # the go command uses all processors itself, and the steps are meant to be read in order

GO        ?= go
SERVICES  := ingest classify aggregate
BIN       := bin
SOURCES   := $(wildcard cmd pipeline schema)
# The version is stamped where git can tell it; a source archive, or a checkout of another user, builds all the same.
VCS       := $(if $(shell git rev-parse HEAD 2>/dev/null),auto,false)
BUILD     := CGO_ENABLED=0 $(GO) build -buildvcs=$(VCS) -trimpath
TEST       = $(GO) test -race -shuffle=on -timeout $(TIMEOUT)

# To be set on the command line: make fuzz FUZZTIME=1m, make bench BENCH=Parse, make test TIMEOUT=20m
TIMEOUT   ?= 10m
FUZZTIME  ?= 5s
BENCH     ?= .
BENCHTIME ?= 1s
COUNT     ?= 1

say = printf '%s\n' '== $(1)'

.PHONY: help demo test unit e2e check lint build bench generate generated fuzz clean prereq need-go need-race clickhouse

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: need-go ## the whole system on this machine, fed with a made-up outage: see what it finds
	@$(call say,building $(BIN)/carom)
	@$(BUILD) -o $(BIN)/carom ./cmd/carom
	@exec $(BIN)/carom demo

test: need-go need-race clickhouse unit e2e ## all tests: unit tests, then end to end on a real ClickHouse

unit: need-go need-race
	@$(call say,unit tests)
	@$(TEST) $$($(GO) list ./... | grep -v '/pipeline/e2e\(/\|$$\)')

e2e: need-go need-race
	@if [ -d pipeline/e2e ]; then $(call say,end to end); $(TEST) -count=1 -v ./pipeline/e2e/...; fi

check: need-go lint generated ## what a commit has to pass besides the tests

lint: need-go
	@$(call say,format)
	@unformatted="$$($(GO) tool gofumpt -l $(SOURCES))"; \
	if [ -n "$$unformatted" ]; then printf 'not gofumpt-formatted (go tool gofumpt -w FILE):\n%s\n' "$$unformatted" >&2; exit 1; fi
	@$(call say,go vet)
	@$(GO) vet ./...
	@$(call say,staticcheck)
	@$(GO) tool staticcheck ./...
	@$(call say,go.mod and go.sum)
	@$(GO) mod tidy -diff
	@$(call say,import rules)
	@$(GO) test ./pipeline/lint

build: need-go ## the three services, static, into bin/
	@for s in $(SERVICES); do $(call say,building $(BIN)/$$s); $(BUILD) -ldflags '-s -w' -o $(BIN)/$$s ./cmd/$$s; done

bench: need-go ## all benchmarks; BENCH=regexp BENCHTIME=1s COUNT=1
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -count $(COUNT) -timeout 60m ./...

# protoc's plug-ins are pinned in go.mod; protoc itself is the system's.
PLUGINS := .cache/tools
.PHONY: plugins
plugins: need-go
	@mkdir -p $(PLUGINS)
	@$(GO) build -o $(PLUGINS)/ google.golang.org/protobuf/cmd/protoc-gen-go github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto

generate: plugins ## make the generated code again (needs protoc)
	@command -v protoc >/dev/null || { echo 'protoc is missing: install protobuf-compiler' >&2; exit 1; }
	@PATH="$(CURDIR)/$(PLUGINS):$$PATH" $(GO) generate ./schema

# Runs the go:generate line on a copy. The comment that names protoc's version is left out of the comparison.
generated: plugins
	@if command -v protoc >/dev/null; then \
		$(call say,generated code is up to date); \
		out="$$(mktemp -d)"; trap 'rm -rf "$$out"' EXIT; \
		cp schema/carom.proto "$$out/"; \
		( cd "$$out"; PATH="$(CURDIR)/$(PLUGINS):$$PATH"; eval "$$(sed -n 's|^//go:generate ||p' "$(CURDIR)/schema/doc.go")" ); \
		for f in "$$out"/*.pb.go; do \
			diff -q -I '^// .*protoc ' "$$f" "schema/$${f##*/}" >/dev/null || \
				{ echo "schema/$${f##*/} is not what carom.proto yields: make generate" >&2; exit 1; }; \
		done; \
	else $(call say,generated code: not checked without protoc); fi

fuzz: need-go ## every fuzz target for a short while; FUZZTIME=5s
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' $(SOURCES) | sed 's|/[^/]*:func | |' | sort | \
	while read -r dir name; do \
		printf '== %s %s\n' "$$dir" "$$name"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$$dir" || exit 1; \
	done

clean: ## remove bin/ (the ClickHouse library in .cache/ stays)
	@rm -rf $(BIN)

# What is missing, and the way out.

prereq: ## say what this machine lacks
	@ok() { printf '  ok       %s\n' "$$1"; }; \
	lacks() { printf '  MISSING  %s\n           %s\n' "$$1" "$$2"; }; \
	printf '  ok       GNU make %s\n' '$(MAKE_VERSION)'; \
	if v="$$($(GO) env GOVERSION 2>&1)" && $(GO) list -m >/dev/null 2>&1; then ok "$$v"; \
	else lacks "Go $$(awk '$$1 == "go" { print $$2 }' go.mod)" 'everything needs it: https://go.dev/dl (1.21 or newer fetches the right one by itself)'; fi; \
	if command -v "$${CC:-cc}" >/dev/null || command -v gcc >/dev/null; then ok 'C compiler'; \
	else lacks 'C compiler' 'make test needs it for the race detector: apt-get install gcc libc6-dev'; fi; \
	if [ -n "$${CAROM_CLICKHOUSE_DSN:-}" ]; then ok 'ClickHouse: CAROM_CLICKHOUSE_DSN'; \
	elif [ "$$(uname -s)/$$(uname -m)" != Linux/x86_64 ]; then \
		lacks 'ClickHouse' 'the embedded one is for Linux on x86-64: set CAROM_CLICKHOUSE_DSN to a running server'; \
	elif command -v npm >/dev/null && command -v node >/dev/null; then ok "ClickHouse through npm $$(npm --version), node $$(node --version)"; \
	elif [ -f "$${CAROM_CACHE:-.cache/clickhouse}/carom-complete" ]; then ok 'ClickHouse: fetched already'; \
	else lacks 'node and npm' 'they fetch ClickHouse: apt-get install nodejs npm, or set CAROM_CLICKHOUSE_DSN to a running server'; fi; \
	if command -v prometheus-alertmanager >/dev/null || command -v alertmanager >/dev/null; then ok 'Alertmanager'; \
	else lacks 'Alertmanager' 'only some tests of alerts need it: apt-get install prometheus-alertmanager'; fi; \
	if command -v protoc >/dev/null; then ok "$$(protoc --version)"; \
	else lacks 'protoc' 'only make generate needs it: apt-get install protobuf-compiler'; fi

need-go:
	@command -v $(GO) >/dev/null || { echo 'go is missing; make prereq tells what this machine lacks' >&2; exit 1; }
	@$(GO) list -m >/dev/null || { echo 'this Go is too old for go.mod; make prereq tells the way out' >&2; exit 1; }

need-race:
	@command -v "$${CC:-cc}" >/dev/null || command -v gcc >/dev/null || \
		{ echo 'the race detector needs a C compiler: apt-get install gcc libc6-dev' >&2; exit 1; }

# Fetched by Carom's own code, which pins the version and the hash and does nothing if the library is there.
clickhouse: need-go
	@if [ -n "$${CAROM_CLICKHOUSE_DSN:-}" ]; then $(call say,ClickHouse: the server of CAROM_CLICKHOUSE_DSN); \
	else $(call say,ClickHouse: fetched unless present); $(GO) run .ci/clickhouse.go; fi
