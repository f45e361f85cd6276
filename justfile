# Each recipe is one line, and is what CI runs.

# What CI runs on every change.
ci:
    ci/test

# Format.
fmt:
    cargo fmt --all

# Lints, edges, tidiness.
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo xtask edges
    cargo xtask tidy

# Tests without foreign clients.
test:
    cargo test --workspace --exclude acceptance

# The main job: the quickstart scenario.
quickstart:
    cargo run --release --bin nap -- sim scenarios/catalog/quickstart.yaml

# Emulated Azure and Kubernetes with the controller between them.
dev:
    cargo run --release --bin nap -- dev

# CRDs from types.
gen:
    cargo xtask gen-crds

# Benchmarks of an area, or of all.
bench *AREA:
    cargo xtask bench {{AREA}}
