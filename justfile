# Recipes for work on Flotilla; `just` lists them. CI calls the same ones.

kafka_version := "4.3.1"
cache := env("FLOTILLA_CACHE", env("HOME") / ".cache/flotilla")

# Both levels of the simulation come from one build, in a directory of its own: with this flag a seed also decides what tokio draws.
simulation := "RUSTFLAGS='--cfg tokio_unstable' cargo run --quiet --target-dir target/simulation --profile simulation --package flotilla-simulation --features quorum --"

kubernetes_version := `sed -n 's/^kubernetes_version=//p' tests/kubernetes/install`
helm := cache / "kubernetes-" + kubernetes_version / "bin/helm"

endurance := "FLOTILLA_ENDURANCE_REPORT=$PWD/docs/endurance.md cargo test --release --workspace --features flotilla-cli/endurance-suite --test endurance -- --nocapture --test-threads 1"

# List the recipes
default:
    @just --list --unsorted

# Format everything in place
fmt:
    cargo fmt --all
    cargo fmt --manifest-path tests/clients/programs/rust/Cargo.toml

# Check formatting and lints, and write nothing
lint:
    cargo fmt --all --check
    cargo fmt --manifest-path tests/clients/programs/rust/Cargo.toml --check
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

# Check licences, sources and banned crates
deny:
    cargo deny --locked check bans licenses sources

# Units, properties and real broker processes
test:
    cargo test --workspace

# Take each rule that decides whether data is lost out, and see that its test fails (all, or those named)
mutations *names:
    tests/mutations/run {{ names }}

# An exactly-once chain, while brokers and the application are killed at random; writes `docs/exactly-once-report.md`
exactly-once seconds="600":
    FLOTILLA_CHAIN_SECONDS={{ seconds }} FLOTILLA_REPORT={{ justfile_directory() }}/target/exactly-once-report.md cargo test --workspace --test process -- --exact --nocapture chain::chain_loses_and_doubles_nothing_while_brokers_and_the_application_are_killed
    { printf '# An exactly-once chain under kills\n\n`just exactly-once {{ seconds }}` on %s (%s, %s cores, a debug build): a source topic, a transactional transform with librdkafka, a sink topic, each of four partitions\non three brokers; a `kill -9` every two to five seconds.\n\n' "$(date -u +%Y-%m-%d)" "$(git rev-parse --short HEAD)" "$(nproc)"; cat target/exactly-once-report.md; } > docs/exactly-once-report.md

# Real clients against fleets of three: client libraries, then kcat and the tools of Apache Kafka
test-clients: test-libraries
    cargo test --workspace --features flotilla-cli/client-suite --test clients -- --nocapture --test-threads 1 --skip scenario::

# Client libraries against fleets of three, all or those whose test has `filter` in its name. They mostly wait, so some run side by side
test-libraries filter="scenario::":
    tests/clients/install libraries
    cargo test --workspace --features flotilla-cli/client-suite --test clients -- --test-threads 3 {{ filter }}

# Write the README's rows of client libraries that run the scenario to its end, of all or of those whose test has `filter` in its name
clients-table filter="works_unchanged":
    FLOTILLA_TABLE=write just test-libraries {{ filter }}

# The same requests to Apache Kafka and to a fleet, answers compared field by field with `docs/differential.md` and `docs/errors.md`
differential:
    tests/clients/install
    cargo test --workspace --features flotilla-cli/differential-suite --test differential -- --nocapture

# The same, and the documents are written anew
differential-documents:
    FLOTILLA_DIFFERENTIAL_WRITE=1 {{ just_executable() }} differential

# The systems around Kafka against fleets of three, all or those named (streams, connect, mirror, flink, spark, hadoop, storm); writes their rows in the README
test-systems *systems:
    tests/systems/install {{ systems }}
    FLOTILLA_TABLE=write cargo test --workspace --features flotilla-cli/systems-suite --test systems -- --nocapture --test-threads 1 {{ systems }}

# One of the systems; its row in the README is held against what it ran. CI runs another one each day
test-system system:
    tests/systems/install {{ system }}
    cargo test --workspace --features flotilla-cli/systems-suite --test systems -- --nocapture --test-threads 1 {{ system }}::

# Kafka Streams in two instances while they and brokers are killed at random for so many seconds; writes `docs/exactly-once.md`
test-exactly-once seconds="600":
    tests/systems/install streams
    FLOTILLA_CHAIN_SECONDS={{ seconds }} FLOTILLA_REPORT={{ justfile_directory() }}/docs/exactly-once.md cargo test --workspace --features flotilla-cli/systems-suite --test systems -- --nocapture streams::chain::

# Chaos on real processes: fleets of three and of five brokers, `seconds` of faults in all, checked in the end. Needs root
test-chaos seconds="300" *options:
    tests/clients/install
    tests/chaos/install
    cargo test --workspace --features flotilla-cli/chaos-suite --test chaos -- --seconds {{ seconds }} {{ options }}

# All that is measured under faults, in full length: about two hours on a quiet machine, as root
test-endurance: test-failover test-restarts test-recovery test-power-cut test-full-disk test-false-alarms test-groups

# A power cut and a full disk, in a minute and not judged by time (needs root)
test-endurance-short:
    FLOTILLA_ROUNDS=2 FLOTILLA_SECONDS=20 cargo test --workspace --features flotilla-cli/endurance-suite --test endurance -- --nocapture --test-threads 1 power_cut full_disk

# Kill the leader of a partition so many times: writes go on within 1.5 s
test-failover kills="100":
    FLOTILLA_KILLS={{ kills }} {{ endurance }} failover

# Restart all brokers in turn so many times: no produce fails or waits longer than 500 ms
test-restarts rounds="20":
    FLOTILLA_ROUNDS={{ rounds }} {{ endurance }} restart

# Kill a broker with so many partitions so many times: it is in every in-sync set within 10 s
test-recovery partitions="1000" rounds="3":
    FLOTILLA_PARTITIONS={{ partitions }} FLOTILLA_ROUNDS={{ rounds }} {{ endurance }} recovery

# Cut the power of all brokers at once so many times: nothing acknowledged is lost (needs root)
test-power-cut cuts="20":
    FLOTILLA_ROUNDS={{ cuts }} {{ endurance }} power_cut

# Fill the disk of a broker for so many seconds (needs root)
test-full-disk seconds="600":
    FLOTILLA_SECONDS={{ seconds }} {{ endurance }} full_disk

# Keep every core busy for so many seconds: no broker is taken for dead
test-false-alarms seconds="600":
    FLOTILLA_SECONDS={{ seconds }} {{ endurance }} false_alarms

# So many groups of two members, of the classic and then of the new protocol: each rebalances twice within so many seconds, then they only heartbeat; nobody expires
test-groups groups="2000" seconds="120":
    FLOTILLA_GROUPS={{ groups }} FLOTILLA_SECONDS={{ seconds }} {{ endurance }} thousands_of_members

# A hundred brokers on this machine, idle for so many seconds, then written to while some are killed
hundred seconds="60" kills="5":
    FLOTILLA_BROKERS=100 FLOTILLA_PARTITIONS=1000 FLOTILLA_SECONDS={{ seconds }} FLOTILLA_KILLS={{ kills }} {{ endurance }} hundred_brokers

# Apache Kafka and this broker side by side, in turn: all scenarios or some, hours on a quiet machine; writes `docs/performance.md` (`--list`, `--pairs`, `--seconds`, `--try`)
versus-kafka *options:
    tests/clients/install
    tests/chaos/install
    cargo test --release --workspace --features flotilla-cli/versus-suite --test versus -- {{ options }}

# Count the instructions of the hot paths under callgrind, beside what was recorded (`--record`: keep them); as root, to install valgrind
instructions *options:
    tests/instructions/run {{ options }}

# How this broker scales with partitions, connections, record sizes, consumers, brokers: all curves or some; writes `docs/scale.md`
scale *curves:
    tests/chaos/install
    cargo test --release --workspace --features flotilla-cli/versus-suite --test versus -- --curves {{ curves }}

# Ten million updates of a compacted topic, compacted through three kills; writes `docs/compaction-report.md`
test-compaction:
    FLOTILLA_REPORT={{ justfile_directory() }}/target/compaction-report.md cargo test --workspace --features flotilla-cli/compaction-suite --test compaction -- --nocapture
    { printf '# Compaction under kills\n\n`just test-compaction` on %s (%s, %s cores, a debug build).\n\n' "$(date -u +%Y-%m-%d)" "$(git rev-parse --short HEAD)" "$(nproc)"; cat target/compaction-report.md; } > docs/compaction-report.md

# Kubernetes, both levels: the API server alone, then three nodes (or the cluster of KUBECONFIG)
test-kubernetes: test-apiserver test-nodes

# Controllers against a real API server with its etcd, without nodes
test-apiserver *filter:
    tests/kubernetes/install
    cargo test --workspace --features flotilla-operator/kubernetes-suite --test apiserver -- {{ filter }}

# The chart, the operator and fleets on three nodes; on your own cluster, if KUBECONFIG is set
test-nodes *filter:
    tests/kubernetes/install
    tests/clients/install
    @[ -n "${KUBECONFIG:-}" ] || tests/kubernetes/images
    cargo test --workspace --features flotilla-operator/kubernetes-suite --test nodes --no-run
    {{ if env("KUBECONFIG", "") == "" { "tests/kubernetes/cluster run" } else { "" } }} cargo test --workspace --features flotilla-operator/kubernetes-suite --test nodes -- --nocapture --test-threads 1 {{ filter }}

# Replay one seed of the simulation with all that happens in it; level: partitions or quorum
simulate seed level="partitions":
    {{ simulation }} {{ level }} --seed {{ seed }} --trace

# Simulate fresh seeds until one fails
simulate-forever level="partitions":
    {{ simulation }} {{ level }} --forever

# Simulate as CI does: fresh seeds of `partitions` and of `quorum`
test-simulation:
    {{ simulation }} partitions --seeds 300 --seconds 40
    {{ simulation }} quorum --seeds 60

# Simulate fresh seeds, and add them to docs/simulation.md if all pass
simulation-report seeds level="partitions":
    {{ simulation }} {{ level }} --seeds {{ seeds }} --report docs/simulation.md --commit $(git rev-parse --short HEAD) --date $(date -I)

# Check the Helm chart: cluster-wide, and for two namespaces with everything that is optional
lint-chart:
    tests/kubernetes/install
    {{ helm }} lint --strict charts/flotilla
    {{ helm }} template flotilla charts/flotilla --kube-version 1.33.0 > /dev/null
    {{ helm }} template flotilla charts/flotilla --kube-version 1.33.0 --set 'namespaces={a,b}' --set certManager.enabled=true --set metrics.serviceMonitor.enabled=true > /dev/null

# Write the CustomResourceDefinitions' YAML from their types, also into the chart, and the documents of every field and reason
crds-generate:
    cargo run --quiet --package flotilla-crds --bin crds-generate

# Write the document of every setting from the tables of settings
settings-generate:
    cargo run --quiet --package flotilla-control --bin settings-generate

# Write the Rust of Kafka's messages from the definitions in the kafka-clients jar (needs Maven, unzip and rustfmt)
protocol-generate:
    mvn --quiet dependency:copy -Dartifact=org.apache.kafka:kafka-clients:{{ kafka_version }} -DoutputDirectory={{ cache }}
    rm -rf {{ cache }}/kafka-clients-{{ kafka_version }}
    unzip -q {{ cache }}/kafka-clients-{{ kafka_version }}.jar 'common/message/*.json' -d {{ cache }}/kafka-clients-{{ kafka_version }}
    cargo run --quiet --package flotilla-protocol-generator -- --definitions {{ cache }}/kafka-clients-{{ kafka_version }}/common/message --out protocol/src/messages

# Fuzz one of `frame`, `request`, `record_batch` for a minute (needs a nightly toolchain and cargo-fuzz)
protocol-fuzz target seconds="60":
    cargo +nightly fuzz run --fuzz-dir protocol/fuzz {{ target }} -- -max_total_time={{ seconds }}
