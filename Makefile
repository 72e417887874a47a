# The two commands a newcomer needs are `make demo` and `make test`.

GO      ?= go
BIN     := bin/sluice
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
ARGS    ?=
PROBE   := device/gpu/bin/gpuprobe-$(shell $(GO) env GOOS)-$(shell $(GO) env GOARCH)

# The race detector makes arithmetic some ten times as slow. Most of what a site's tests
# compute is the optimiser, which is watched in its own tests, and SQLite's engine, a
# translation from C: elsewhere these run as they are. (Only what synchronises by nothing
# but Go's own mutexes may be left out so: with all of modernc.org the detector sees
# races where there are none.)
RACE := CGO_ENABLED=1 $(GO) test -race -timeout 30m
UNWATCHED := -race=false -d=checkptr=0

UI_SRC  := $(shell find ui/src ui/public -type f 2>/dev/null) ui/index.html ui/package.json ui/package-lock.json ui/vite.config.ts

.PHONY: demo
demo: build ## build Sluice and run the demo site until Ctrl-C
	@exec $(BIN) up --demo $(ARGS)

.PHONY: build
build: ui $(PROBE) ## build the binary with the dashboard and the GPU probe inside
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sluice

.PHONY: ui
ui: ui/dist/index.html ## build the dashboard

ui/dist/index.html: $(UI_SRC)
	@scripts/need node npm
	cd ui && npm ci --no-audit --no-fund && npm run build

# The part that talks to NVIDIA's driver; it is embedded, because it is the only one
# that needs the machine's C library.
$(PROBE): go.mod $(wildcard cmd/gpuprobe/*.go device/gpu/*.go device/gpu/nvml/*.go)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./cmd/gpuprobe

.PHONY: test
test: ui $(PROBE) ## install what the tests need and run everything
	@scripts/need gcc hledger chromium python3-scipy python3-torch python3-pymodbus snmpsim mosquitto nut-server podman dockerd runc runsc busybox-static slirp4netns iproute2 uidmap slurm nats-server
	$(GO) vet ./...
	$(RACE) ./dispatch
	$(RACE) -gcflags='sluice/dispatch=$(UNWATCHED)' -gcflags='modernc.org/sqlite/lib=$(UNWATCHED)' \
		$$($(GO) list ./... | grep -vx sluice/dispatch)
	$(GO) test -timeout 20m ./forecast

.PHONY: test-gpu-binary
test-gpu-binary: build ## build what `scripts/test-gpu` needs on a machine without Go
	CGO_ENABLED=0 $(GO) test -c -trimpath -ldflags '-s -w' -o bin/gpu.test ./device/gpu
	CGO_ENABLED=0 $(GO) test -c -trimpath -ldflags '-s -w' -o bin/e2e.test ./e2e

.PHONY: test-gpu
test-gpu: test-gpu-binary ## test against this machine's own GPUs, in some two minutes
	@scripts/test-gpu

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
	rm -rf bin device/gpu/bin ui/dist ui/node_modules

.PHONY: help
help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | sort
