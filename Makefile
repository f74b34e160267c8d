# Davy's few doors. `make demo` runs the main job, `make test` passes the tests, `make check` is the quick part of them,
# `make bench` measures. Each does its own set-up; what needs root and is missing is printed as the line to run.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: help demo test check bench faults failpoints sim mutants console servers

CONSOLE_SOURCES := $(shell find dashboards/src dashboards/public dashboards/index.html dashboards/package-lock.json -type f 2>/dev/null)

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: dashboards/dist/index.html ## a simulated prefecture, its gateways, a broker, the centre and its console
	@echo "building Davy (the first time takes minutes) …"
	cargo build --release -p gateway -p ingest -p tests --features tests/demo \
		--bin davy-gateway --bin davy-ingest --bin davy-demo
	exec target/release/davy-demo

test: check servers ## everything: checks, unit, property, system and browser tests with real servers
	@echo "── system, unit and property tests"
	eval "$$(tests/servers/get.sh --export influxd influxd1 victoria-metrics mosquitto nats-server chromium)"; \
	$(MAKE) failpoints && \
	cargo build --workspace --bins --features tests/demo && \
	cargo test --workspace --features tests/demo
	@echo "── browser tests"
	eval "$$(tests/servers/get.sh --export influxd mosquitto nats-server chromium)"; \
	cargo run -q -p tests --features demo --bin davy-browser-tests

check: dashboards/node_modules/.package-lock.json ## formatting, lints, documentation, alert rules, the console's types and unit tests
	cargo fmt --all --check
	cargo clippy --workspace --features tests/demo -- -D warnings
	eval "$$(tests/servers/get.sh --export promtool)"; cd deploy/prometheus && \
	"$$PROMTOOL" check rules davy.rules.yml && "$$PROMTOOL" test rules davy.rules.test.yml
	cd dashboards && npm run check && npm run build && npm test

bench: servers ## throughput, latency and bytes a sample, beside Telegraf and InfluxDB in the same run
	eval "$$(tests/servers/get.sh --export influxd telegraf mosquitto)"; \
	cargo build --release -p gateway -p ingest && \
	cargo run --release -p tests --bin davy-bench

faults: servers failpoints ## N random rounds of faults over real processes (default 40; SEED=, JOBS=); a fixed part is in make test
	eval "$$(tests/servers/get.sh --export influxd mosquitto)"; \
	cargo build -p tests --bin davy-faults && \
	target/debug/davy-faults --rounds $(or $(N),40) --jobs $(or $(JOBS),3) --seed $(or $(SEED),1)

# Both programs with fail points, beside those without: docs/FAILPOINTS.md. The packages are those of `make test`, so that
# the dependencies are built once.
PROGRAMS := -p gateway -p ingest -p tests --bin davy-gateway --bin davy-ingest
failpoints:
	cargo build $(PROGRAMS) --features tests/demo,gateway/failpoints,ingest/failpoints
	mkdir -p target/debug/failpoints
	cp target/debug/davy-gateway target/debug/davy-ingest target/debug/failpoints/
	cargo build $(PROGRAMS) --features tests/demo

sim: ## simulate N seeds (default 500; N=100000 takes hours), each with faults it draws; SEED=n plays one again, FAULTS=a,b these
	cargo run --release -q -p sim --bin davy-sim -- --seeds $(if $(SEED),1,$(or $(N),500)) --from $(or $(SEED),0) \
		$(if $(FAULTS),--faults $(FAULTS))

mutants: ## put known faults into the code, one at a time: the simulation must catch each
	tests/sim/mutants.sh

console: dashboards/dist/index.html ## build the console that davy-ingest serves

servers:
	@tests/servers/get.sh influxd influxd1 victoria-metrics mosquitto nats-server chromium

dashboards/node_modules/.package-lock.json: dashboards/package-lock.json
	cd dashboards && npm ci --no-audit --no-fund

dashboards/dist/index.html: dashboards/node_modules/.package-lock.json $(CONSOLE_SOURCES)
	cd dashboards && npm run build
