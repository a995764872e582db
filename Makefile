# Two commands are enough: "make scan" builds ctaudit and audits this node, "make test" runs every test.

GO      ?= go
BIN     := bin/ctaudit
TOOL    := $(GO) tool -modfile=tools.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOFILES  = $(shell git ls-files '*.go')
LDFLAGS := -s -w -X main.version=$(VERSION)
# Every feature whose absence turns a skipped test into a failed one; see internal/lab/labtest. CI sets "all".
export CTAUDIT_REQUIRE ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: build
build: collectors ## build bin/ctaudit, static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/ctaudit

# What "ctaudit fleet --push" sends to nodes; go:embed takes them in from there.
COLLECTORS := internal/host/served/binaries
.PHONY: collectors
collectors:
	@for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ctaudit-collector-$$arch ./cmd/ctaudit-collector && \
		gzip -9nc bin/ctaudit-collector-$$arch >$(COLLECTORS)/collector-linux-$$arch.gz || exit 1; \
	done

.PHONY: scan
scan: build ## build, then audit this node
	./$(BIN) scan localhost

.PHONY: test
test: test-deps build ## run every test; as root on Debian, installs what they need first
	CTAUDIT_BIN=$(CURDIR)/$(BIN) $(TOOL) gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -count=1 -timeout 20m ./...

.PHONY: test-deps
test-deps: ## install the Debian packages that the tests use (when root)
	@./hack/test-deps.sh

.PHONY: check
check: ## format, vet, lint, Rego tests and lint, generated files up to date
	@test -z "$$($(TOOL) gofumpt -l $(GOFILES))" || { $(TOOL) gofumpt -d $(GOFILES); echo "hint: make fmt"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) test -count=1 ./internal/policy ./policies
	$(GO) mod verify >/dev/null
	$(GO) mod tidy -diff
	@./hack/generated.sh

.PHONY: fmt
fmt: ## format Go and Rego
	$(TOOL) gofumpt -w $(GOFILES)
	CTAUDIT_UPDATE=1 $(GO) test -count=1 ./internal/policy

.PHONY: generate
generate: ## write the generated files anew
	$(GO) generate ./...

.PHONY: bench
bench: test-deps build ## benchmarks and whole-process runs (docs/performance.md keeps the figures)
	CTAUDIT_BIN=$(CURDIR)/$(BIN) $(GO) test -run '^$$' -bench . -benchmem ./...

FLEETHOSTS ?= 1000
.PHONY: bench-fleet
bench-fleet: build ## audit FLEETHOSTS hosts over SSH, beside pssh, clush, ansible and ssh, which have to be installed
	@for p in parallel-ssh clush ansible sshd; do command -v $$p >/dev/null || \
		{ echo "bench-fleet: no $$p (Debian: apt-get install pssh clustershell ansible-core openssh-server)" >&2; exit 1; }; done
	CTAUDIT_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -timeout 1h -v -run '^(TestFleetSpeed|TestOneHostSpeed)$$' ./cmd/ctaudit \
		-speed.hosts=$(FLEETHOSTS) -speed.runs=20

FUZZTIME ?= 60s
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@GO='$(GO)' FUZZTIME=$(FUZZTIME) ./hack/fuzz.sh

ORACLETIME ?= 5m
.PHONY: oracle
oracle: test-deps ## hold the evaluator against the kernel, ORACLETIME for each of two questions
	@GO='$(GO)' ORACLETIME=$(ORACLETIME) ./hack/oracle.sh

.PHONY: mutants
mutants: test-deps ## build the evaluator with one mistake at a time: the oracle must see each
	$(GO) test -count=1 -timeout 2h -v -run '^TestMutants$$' ./internal/lab/oracle -oracle.mutants

KERNELS ?= all
.PHONY: kernels
kernels: ## boot Debian's kernels (KERNELS=5.10,6.1: these) in an emulator: do they what the proof and the scan say?
	@./hack/test-deps.sh qemu-system-x86 xz-utils
	$(GO) test -count=1 -timeout 1h -v -run '^TestKernels$$' ./internal/lab/kernels -kernels=$(KERNELS)

NFTRULESETS ?= 2000
.PHONY: nft-versions
nft-versions: test-deps ## read NFTRULESETS random rulesets with the nft of every Debian release, over netlink and as text
	$(GO) test -count=1 -timeout 3h -v -run '^TestNftVersions$$' ./internal/lab/oracle -oracle.versions=$(NFTRULESETS)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist $(COLLECTORS)/*.gz
