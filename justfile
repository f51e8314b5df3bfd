# Recipes for work on Flotilla; `just` lists them. CI calls the same ones.

kafka_version := "4.3.1"
cache := env("FLOTILLA_CACHE", env("HOME") / ".cache/flotilla")

# List the recipes
default:
    @just --list --unsorted

# Format everything in place
fmt:
    cargo fmt --all

# Check formatting and lints, and write nothing
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Check licences, sources and banned crates
deny:
    cargo deny --locked check bans licenses sources

# Units, properties and real broker processes
test:
    cargo test --workspace

# Real clients: kcat and the tools of Apache Kafka, against a fleet of three
test-clients:
    tests/clients/install
    cargo test --package flotilla-cli --features client-suite --test clients -- --nocapture --test-threads 1

# Write the CustomResourceDefinitions' YAML from their types
crds-generate:
    cargo run --quiet --package flotilla-crds --bin crds-generate
