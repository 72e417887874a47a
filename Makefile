# The two commands a newcomer needs are `make demo` and `make test`.

GO      ?= go
BIN     := bin/sluice
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
ARGS    ?=

UI_SRC  := $(shell find ui/src ui/public -type f 2>/dev/null) ui/index.html ui/package.json ui/package-lock.json ui/vite.config.ts

.PHONY: demo
demo: build ## build Sluice and run the demo site until Ctrl-C
	@exec $(BIN) up --demo $(ARGS)

.PHONY: build
build: ui ## build the binary with the dashboard inside
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sluice

.PHONY: ui
ui: ui/dist/index.html ## build the dashboard

ui/dist/index.html: $(UI_SRC)
	@scripts/need node npm
	cd ui && npm ci --no-audit --no-fund && npm run build

.PHONY: test
test: ui ## install what the tests need and run everything
	@scripts/need gcc hledger chromium python3-scipy python3-torch python3-pymodbus snmpsim mosquitto nut-server
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...
	$(GO) test -timeout 20m ./forecast

.PHONY: fuzz
fuzz: ## fuzz every parser for FUZZTIME each
	scripts/fuzz $(or $(FUZZTIME),30s)

.PHONY: bench
bench: ## the figures of docs/performance.md
	scripts/bench

.PHONY: lint
lint: ## gofmt and golangci-lint
	@scripts/lint

.PHONY: clean
clean: ## remove what was built
	rm -rf bin ui/dist ui/node_modules

.PHONY: help
help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | sort
