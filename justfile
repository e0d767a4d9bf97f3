set shell := ["bash", "-euo", "pipefail", "-c"]

protos := "memalpha/api/memory/v1alpha1/memory.proto memalpha/api/memory/v1alpha1/memory_service.proto memalpha/api/agent/v1alpha1/agent_service.proto memalpha/api/policy/v1alpha1/policy_service.proto"

# List the recipes
default:
    @just --list

# Regenerate Python, Rust and Go code from proto/
[group('contracts')]
proto:
    uv run --frozen python -m grpc_tools.protoc -Iproto --python_out=services --grpc_python_out=services \
      --mypy_out=quiet:services --mypy_grpc_out=quiet:services {{protos}}
    cargo run --quiet --locked -p memcore-codegen
