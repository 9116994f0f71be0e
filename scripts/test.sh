#!/usr/bin/env bash
# Everything that must pass before a change is taken: format, lints, tests, rules, scripts, dashboards.
#
# test.sh [--fast | --long] [--keep-going] [--servers SUITE]
#     --long        also the fuzz targets, 30 s each (scripts/fuzz.sh)
#     --fast        only the unit tests of cargo test, which need no servers; nothing is installed
#     --keep-going  goes on after a step that failed, and fails at the end
#
#     --servers SUITE  only what depends on the servers' versions, against those of a Debian release (trixie: PostgreSQL 17,
#                   RabbitMQ 4.0, Prometheus 2.53; sid: the newest), from a folder that scripts/servers.sh makes
#
# The integration tests start private servers by themselves (scripts/services.sh run); this installs what they need.
# shellcheck disable=SC2317  # the steps are called by their names
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

fast=no long=no keep_going=no failed=() suite=
while [[ $# -gt 0 ]]; do
  option=$1
  shift
  case $option in
    --servers) suite=${1:?--servers needs a Debian release, as trixie} && shift ;;
    --fast) fast=yes ;;
    --long) long=yes ;;
    --keep-going) keep_going=yes ;;
    -h | --help)
      print_help
      exit
      ;;
    *) die "unknown option $option, see $0 --help" ;;
  esac
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step TITLE COMMAND...
step() {
  local title=$1 began=$SECONDS status
  shift
  printf '\n== %s\n' "$title"
  set +e
  (
    set -e
    "$@"
  ) 2>&1
  status=$?
  set -e
  if [[ $status -eq 0 ]]; then
    printf -- '-- ok, %d s\n' $((SECONDS - began))
  else
    printf -- '-- FAILED (exit status %d), %d s\n' "$status" $((SECONDS - began))
    failed+=("$title")
    [[ $keep_going == yes ]] || finish
  fi
}
skip() { printf '\n== %s\n-- skipped: %s\n' "$1" "$2"; }

finish() {
  printf '\n== result\n'
  if [[ ${#failed[@]} -gt 0 ]]; then
    printf 'FAILED: %s\n' "${failed[@]}"
  else
    printf 'every step passed, %d s\n' "$SECONDS"
  fi
  grep -a '^test result:' "$log" || true
  exit $((${#failed[@]} > 0))
}

toolchain() {
  have cargo || die "the Rust toolchain is missing (cargo)" "get it from https://rustup.rs"
  cargo fmt --version >/dev/null 2>&1 || die "rustfmt is missing" "get it with: rustup component add rustfmt"
  cargo clippy --version >/dev/null 2>&1 || die "clippy is missing" "get it with: rustup component add clippy"
  have cc || die "a C compiler is missing (cc)" "get it with: apt-get install gcc libc6-dev"
  cargo --version
}

shell_scripts() {
  local file
  for file in scripts/*.sh; do bash -n "$file"; done
  sh -n config/postgres-init.sh
  if have shellcheck; then
    shellcheck -x scripts/*.sh config/*.sh
  else
    echo "shellcheck is not installed (apt-get install shellcheck): syntax checked only"
  fi
}

prometheus_rules() {
  promtool check config prometheus/prometheus.yml
  promtool check rules --lint=all --lint-fatal prometheus/rules/*.yml
  ! have amtool || amtool check-config prometheus/alertmanager.yml
  promtool test rules prometheus/tests/*.yml
}

# in_root COMMAND...: with the programs of SERVERS_ROOT.
in_root() {
  # shellcheck disable=SC2016  # for the inner shell
  unshare --mount --propagation slave bash -c 'mount --bind "$SERVERS_ROOT/usr" /usr && exec "$@"' _ "$@"
}
prometheus_of_suite() { in_root bash -c "$(declare -f have prometheus_rules); set -e; prometheus_rules"; }

make_servers() { scripts/servers.sh "$suite"; }

# Their tests need servers; those of the other crates do not care which.
suite_test() {
  timeout --kill-after=30 60m cargo test --locked -p acequia-worker -p acequia-publisher -p acequia-net --tests 2>&1 | tee "$log"
}

compose_file() {
  if docker compose version >/dev/null 2>&1; then docker compose config -q; else docker-compose config -q; fi
}

dashboards() { scripts/check_dashboards.py --self-test; }

cargo_test() {
  local only=()
  [[ $fast == no ]] || only=(--lib --bins)
  # cargo builds every program before it runs the first test: the fault scenarios need not ask it again.
  export FAULTS_WORKER=${CARGO_TARGET_DIR:-$ROOT/target}/debug/worker
  # They take minutes. The limit is there so that a test that hangs is an answer too.
  timeout --kill-after=30 45m cargo test --workspace --locked "${only[@]}" 2>&1 | tee "$log"
}

if [[ -n $suite ]]; then
  step "servers of Debian $suite" make_servers
  SERVERS_ROOT=$(scripts/servers.sh "$suite")
  export SERVERS_ROOT
  step "Prometheus rules" prometheus_of_suite
  step "cargo test" suite_test
  if python3 -c 'import yaml' 2>/dev/null; then
    step "Grafana dashboards against servers" scripts/dashboards.sh
  fi
  finish
fi
step "Rust toolchain" toolchain
[[ $fast == yes ]] || step "servers for the tests" scripts/services.sh install --observability --tests
if have npm; then
  step "console: built files are what the sources make" scripts/console.sh check
else
  skip "console" "Node is not installed (apt-get install nodejs npm)"
fi
step "cargo fmt --all --check" cargo fmt --all --check
step "shell scripts" shell_scripts
if have promtool; then
  step "Prometheus rules" prometheus_rules
else
  skip "Prometheus rules" "promtool is not installed (scripts/services.sh install --observability)"
fi
if docker compose version >/dev/null 2>&1 || have docker-compose; then
  step "compose file" compose_file
else
  skip "compose file" "docker compose is not installed"
fi
if python3 -c 'import yaml' 2>/dev/null; then
  step "Grafana dashboards" dashboards
else
  skip "Grafana dashboards" "python3 with PyYAML is not installed (apt-get install python3-yaml)"
fi
if cargo deny --version >/dev/null 2>&1; then
  # Advisories too where their database can be reached: cargo deny check advisories
  step "cargo deny" cargo deny --workspace --locked check licenses bans sources
else
  skip "cargo deny" "it is not installed (cargo install cargo-deny --locked)"
fi
if [[ $long == yes ]]; then
  if cargo fuzz --version >/dev/null 2>&1 && have c++; then
    step "fuzzing" scripts/fuzz.sh 30
  else
    skip "fuzzing" "cargo-fuzz or a C++ compiler is not installed (cargo install cargo-fuzz --locked; apt-get install g++)"
  fi
fi
step "cargo clippy" cargo clippy --workspace --all-targets --locked -- -D warnings
step "cargo test" cargo_test
if [[ $fast == no ]] && python3 -c 'import yaml' 2>/dev/null; then
  step "Grafana dashboards against servers" scripts/dashboards.sh
fi
if [[ $fast == no ]] && have npm && [[ -x ${CHROMIUM:-/usr/bin/chromium} ]]; then
  step "console in a browser" scripts/console.sh test
else
  skip "console in a browser" "Node or Chromium is not installed (apt-get install nodejs npm chromium), or --fast"
fi
# With what cargo test has built: it compares costs within one run, so the profile does not matter.
[[ $fast == yes ]] || step "performance" env BENCH_PROFILE=dev scripts/bench.sh --guard
finish
