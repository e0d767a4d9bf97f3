set shell := ["bash", "-euo", "pipefail", "-c"]
# Recipes pass "$@" on: arguments stay what they were, blanks and quotes in them too.
set positional-arguments

buf := "npx --yes @bufbuild/buf@1.75.0"
protos := "memalpha/api/memory/v1alpha1/memory.proto memalpha/api/memory/v1alpha1/memory_service.proto memalpha/api/agent/v1alpha1/agent_service.proto memalpha/api/policy/v1alpha1/policy_service.proto memalpha/api/trainer/v1alpha1/trainer_service.proto"
run := "uv run --locked"
# What runs a model has environments of its own: it is large, and vLLM for a CPU and for GPUs do not go together.
with_train := "UV_PROJECT_ENVIRONMENT=target/venv-train " + run + " --group train"
with_vllm_cpu := "UV_PROJECT_ENVIRONMENT=target/venv-vllm " + run + " --group vllm"
with_vllm_gpu := "UV_PROJECT_ENVIRONMENT=target/venv-gpu " + run + " --group vllm-gpu"
with_vllm := if env('MEMALPHA_POLICY__DEVICE', 'cpu') == "cpu" { with_vllm_cpu } else { with_vllm_gpu }

# List the recipes
default:
    @just --list --unsorted

# Memorize the bundled conversation (or FILE) and ask it questions
[group('use')]
demo *FILE:
    {{ run }} --no-group dev memalpha demo {{ if FILE == "" { "examples/demo/conversation.json --questions examples/demo/questions.json" } else { '"$@"' } }}

# Train a policy: just train --config trainer/configs/bandit.toml
[group('use')]
train *ARGS:
    {{ with_train }} --no-group dev python trainer/run.py "$@"

# Start memory, policy and agent; Ctrl-C stops them. `--policy transformers` and `--policy vllm` install what they need first
[group('use')]
up *ARGS:
    {{ if ARGS =~ '--policy[ =]vllm' { with_vllm } else if ARGS =~ '--policy[ =]transformers' { with_train } else { run } }} --no-group dev memalpha up "$@"

# An untrained model of the Qwen3 architecture in FOLDER, to try what serves one; it writes nonsense
[group('use')]
tiny-model FOLDER:
    MEMALPHA_WIRE_FORMAT=lines {{ with_vllm_cpu }} --no-group dev memalpha model tiny "$1"

# Build the Rust core and install everything into .venv
[group('develop')]
build:
    uv sync --locked
    cargo build --locked --release --package memcore-sim

# Everything that must pass: build, lint, tests, clients, each with its time budget
[group('develop')]
test *TIERS:
    python3 .ci/tiers.py "$@"

# Rust and Python tests, but for those of test-models
[group('develop')]
test-units *ARGS:
    cargo test --locked --quiet --workspace --exclude memcore-py
    {{ run }} pytest -q -m "not clients" --ignore services/tests/policy --ignore trainer/tests "$@"

# Clients in other languages against a live server
[group('develop')]
test-clients:
    {{ run }} pytest -q -m clients tests/clients

# Policy services, training, and what large libraries show, in an environment of their own; installs torch
[group('develop')]
test-models *ARGS:
    {{ with_train }} --group viewers pytest -q -m "not long" services/tests/policy trainer/tests evals/tests/test_{endpoints,seed_table_models,exports,report_in_browser}.py "$@"

# What the vllm engine keeps, on a CPU, with vLLM started as seldom as can be; installs vLLM and torch
[group('develop')]
test-vllm *ARGS:
    {{ with_vllm_cpu }} pytest -q -m "not long" services/tests/policy/test_{conformance,vllm_guided,vllm_exactly_once,vllm_sampling,vllm_streams,vllm_parity,vllm_weights,vllm_chaos}.py -k "vllm and not transformers" "$@"

# All tests of the vllm engine on a CPU: also heads that are not tied, adapters, `memalpha up`, more ways to die
[group('develop')]
test-vllm-all *ARGS:
    {{ with_vllm_cpu }} pytest -q services/tests/policy -k vllm "$@"

# Engines that run a language model, on a GPU; installs vLLM for GPUs
[group('develop')]
test-gpu *ARGS:
    MEMALPHA_TEST_DEVICE=cuda {{ with_vllm_gpu }} pytest -q services/tests/policy "$@"

# What docs/policy.md has a new machine install, by the page's own lines, outside of the checkout; ends with a chunk memorized over vLLM on a CPU
[group('develop')]
try-install:
    python3 .ci/try_install.py

# Crash and property tests with many more seeds, policy services under fire, and training by several ranks
[group('develop')]
test-long:
    PROPTEST_CASES=20000 cargo test --locked --release --package memcore-vector --package memcore-embed
    PROPTEST_CASES=20000 cargo test --locked --release --package memcore-engine -- --skip as_if_every_memory_were_read
    MEMALPHA_TEST_SECONDS=300 cargo test --locked --release --package memcore-engine --test ranking
    MEMALPHA_CRASH_SEEDS=50 {{ run }} pytest -q -m crash tests/crash
    just test-models -m long
    just test-vllm-all -m long
    MEMALPHA_TEST_SECONDS=300 just test-vllm-all -k vllm_chaos

# Format Rust, Python and protos
[group('develop')]
fmt:
    cargo fmt --all
    {{ run }} ruff format
    {{ run }} ruff check --fix --quiet
    cd proto && {{ buf }} format -w

# Everything that can be checked without running the code
[group('develop')]
lint: lint-proto lint-rust lint-python

[private]
lint-rust:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
    cargo clippy --locked --package memcore-engine --features sim --all-targets --quiet -- -D warnings

[private]
lint-python:
    {{ run }} ruff format --check
    {{ run }} ruff check
    {{ run }} pyright
    {{ run }} lint-imports
    {{ run }} python -m mypy.stubtest memcore._memcore --ignore-disjoint-bases

# buf, and that generated code is what proto/ says
[private]
lint-proto:
    cd proto && {{ buf }} lint && {{ buf }} format --diff --exit-code && {{ buf }} breaking --against baseline.binpb
    rm -rf target/generated && mkdir -p target/generated && git ls-files -z services/memalpha/api memcore/server/src/api examples/go/api | xargs -0 cp --parents -t target/generated
    just proto
    for tree in services/memalpha/api memcore/server/src/api examples/go/api; do diff -r --exclude=__pycache__ target/generated/$tree $tree; done

# Regenerate Python, Rust and Go code from proto/
[group('contracts')]
proto:
    {{ run }} python -m grpc_tools.protoc -Iproto --python_out=services --grpc_python_out=services \
      --mypy_out=quiet:services --mypy_grpc_out=quiet:services {{ protos }}
    cargo run --quiet --locked --package memcore-codegen
    GOBIN="$PWD/target/go-tools" go -C examples/go install tool
    go=module=example.com/memalpha-go; for proto in {{ protos }}; do package=${proto%/*}; go+=",M$proto=example.com/memalpha-go/${package#memalpha/}"; done; \
      {{ run }} python -m grpc_tools.protoc -Iproto --plugin=target/go-tools/protoc-gen-go --plugin=target/go-tools/protoc-gen-go-grpc \
      --go_out=examples/go --go_opt="$go" --go-grpc_out=examples/go --go-grpc_opt="$go" {{ protos }}

# Accept the present protos as what `buf breaking` compares with
[group('contracts')]
proto-baseline:
    cd proto && {{ buf }} build -o baseline.binpb

# Measure the core beside its peers; writes docs/benchmarks/DATE.json
[group('measure')]
bench *ARGS:
    {{ run }} --group bench python memcore/benches/bench.py "$@"

# The conformance suite of all engines, and what they say of their own tokens against a full pass; writes docs/policy.md
[group('measure')]
bench-parity *ARGS:
    {{ with_vllm_cpu }} python services/benches/parity.py "$@"

# Many banks through one engine: how busy it is kept, and what the agent costs; writes docs/policy.md
[group('measure')]
bench-agent *ARGS:
    {{ with_vllm_cpu }} python services/benches/agent.py "$@"

# Training over both engines, from a checkpoint of `memalpha-trainer warm`; writes docs/policy.md
[group('measure')]
bench-engines *ARGS:
    {{ with_vllm_cpu }} --group train python trainer/benches/engines.py "$@"

# What training Qwen3-4B would take, by memory and GPU-hours, without a GPU; writes trainer/reports/dry-run.md
[group('measure')]
dry-run *ARGS:
    {{ with_train }} memalpha-trainer dry-runs "$@"

# Scripted writers on the ledger, by length; writes docs with --write-docs
[group('measure')]
ledger *ARGS:
    {{ run }} evals ledger "$@"

# What writers keep per stored token: just construct locomo --data FILE
[group('measure')]
construct *ARGS:
    {{ run }} evals construct "$@"

# Whether packed contexts hold the answers: just packed locomo --data FILE
[group('measure')]
packed *ARGS:
    {{ run }} evals packed "$@"

# Mem-alpha's published figures with ours beside them: just seed-table --data DATA --policy SPEC --reader SPEC, or --brief; writes docs/seed-table.md
[group('measure')]
seed-table *ARGS:
    {{ with_train }} evals seed-table --write-docs "$@"

# Real files through memory and reader, whole: just whole --data DATA; goes on where it was stopped; writes docs/real-files.md
[group('measure')]
whole *ARGS:
    {{ run }} evals bench whole --write-docs "$@"

# Evidence recall of one data set: just eval-store locomo --data FILE
[group('measure')]
eval-store *ARGS:
    {{ run }} evals store "$@"
