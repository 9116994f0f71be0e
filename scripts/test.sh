#!/usr/bin/env bash
# Everything that must pass before a change is taken: format, lints, tests, rules, scripts, dashboards.
#
# test.sh [--fast | --quick | --long] [--keep-going] [--servers SUITE]
#     --fast        only the tests that need no servers; nothing is installed
#     --quick       those, and the integration tests of what differs from the upstream branch (or from the last commit)
#     --long        also the console in Chromium (scripts/console.sh test), the fuzz targets, 30 s each (scripts/fuzz.sh), and the guard against slow-downs in the release profile
#     --keep-going  goes on after a step that failed, and fails at the end
#
#     --servers SUITE  only what depends on the servers' versions, against those of a Debian release (trixie: PostgreSQL 17,
#                   RabbitMQ 4.0, Prometheus 2.53; sid: the newest), from a folder that scripts/servers.sh makes
#
# Installs the servers that the tests need and starts them once (scripts/services.sh run). Tests are played by cargo-nextest
# where it is installed, else by cargo test.

# shellcheck disable=SC2317  # the steps are called by their names
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

fast=no quick=no long=no keep_going=no failed=() suite=
while [[ $# -gt 0 ]]; do
  option=$1
  shift
  case $option in
    --servers) suite=${1:?--servers needs a Debian release, as trixie} && shift ;;
    --fast) fast=yes ;;
    --quick) quick=yes ;;
    --long) long=yes ;;
    --keep-going) keep_going=yes ;;
    -h | --help)
      print_help
      exit
      ;;
    *) die "unknown option $option, see $0 --help" ;;
  esac
done

logs=$(mktemp -d)
log=$logs/tests
servers='' servers_input='' beside=() titles=()
clean_up() {
  local job
  for job in "${beside[@]}"; do
    kill "$job" 2>/dev/null || true
    wait "$job" || true
  done
  stop_servers
  [[ -z $servers ]] || wait "$servers_pid" 2>/dev/null || true
  rm -rf "$servers" "$logs"
}
trap clean_up EXIT

# start_servers: those that all tests share. The end of this script, whatever ends it, closes their input and so stops them.
start_servers() {
  local line
  servers=$(mktemp -d "${TMPDIR:-/tmp}/acequia-test-XXXXXX")
  # Several tests at once, each with workers of its own, need more connections than an installation. Autovacuum would connect
  # to one database after the other, of the hundreds that the tests leave.
  local options='max_connections=300 autovacuum_naptime=1d'
  coproc SERVERS { POSTGRES_OPTIONS=$options exec scripts/services.sh run "$servers" --any-port; }
  # shellcheck disable=SC2153  # set by coproc
  servers_input=${SERVERS[1]} servers_pid=$SERVERS_PID
  read -r line <&"${SERVERS[0]}" || true
  [[ ${line:-} == READY ]] || die "the servers did not start"
  export TEST_SERVERS=$servers
}
# stop_servers: they need a while to delete what the tests left; the end of this script waits for that.
stop_servers() {
  [[ -n $servers_input ]] || return 0
  exec {servers_input}>&-
  servers_input=
}

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
  report "$title" "$status" $((SECONDS - began))
}
# report TITLE STATUS SECONDS: the result of a step.
report() {
  if [[ $2 -eq 0 ]]; then
    printf -- '-- ok, %d s\n' "$3"
  else
    printf -- '-- FAILED (exit status %d), %d s\n' "$2" "$3"
    failed+=("$1")
    [[ $keep_going == yes ]] || finish
  fi
}
# step_beside TITLE COMMAND...: a step that runs beside the next ones, until join_steps.
step_beside() {
  local job
  (
    began=$SECONDS status=0
    "${@:2}" &
    trap 'kill "$!" && wait "$!"' TERM
    wait "$!" || status=$?
    echo $((SECONDS - began)) >"$logs/$BASHPID.seconds"
    exit "$status"
  ) >"$logs/beside" 2>&1 &
  job=$!
  mv "$logs/beside" "$logs/$job"
  beside+=("$job")
  titles[job]=$1
}
# join_steps: the results of those, in the order of their starts.
join_steps() {
  local job status
  while [[ ${#beside[@]} -gt 0 ]]; do
    job=${beside[0]} status=0
    printf '\n== %s\n' "${titles[job]}"
    wait "$job" || status=$?
    beside=("${beside[@]:1}")
    cat "$logs/$job"
    report "${titles[job]}" "$status" "$(cat "$logs/$job.seconds")"
  done
}
skip() { printf '\n== %s\n-- skipped: %s\n' "$1" "$2"; }

finish() {
  printf '\n== result\n'
  if [[ ${#failed[@]} -gt 0 ]]; then
    printf 'FAILED: %s\n' "${failed[@]}"
  else
    printf 'every step passed, %d s\n' "$SECONDS"
  fi
  grep -aE '^test result:|^ +Summary ' "$log" || true
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
  for file in scripts/*.sh scripts/*/*.sh; do bash -n "$file"; done
  sh -n config/postgres-init.sh
  if have shellcheck; then
    shellcheck -x scripts/*.sh scripts/*/*.sh config/*.sh
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

# Why the console cannot be checked; nothing when it can.
without_console() {
  local major
  have npm || { echo "node and npm are not installed (apt-get install nodejs npm)" && return; }
  major=$(node --version | sed -E 's/^v([0-9]+).*/\1/')
  ((major >= 20)) || { echo "Node 20 or newer is needed" && return; }
  scripts/console.sh packages >/dev/null 2>&1 || echo "its packages cannot be got (npm ci in console)"
}
without_browser() {
  local why
  why=$(without_console)
  [[ -n $why || -x ${CHROMIUM:-/usr/bin/chromium} ]] || why="Chromium is not installed (apt-get install chromium)"
  echo "$why"
}
console() { scripts/console.sh "$1"; }

compose_file() {
  if docker compose version >/dev/null 2>&1; then docker compose config -q; else docker-compose config -q; fi
}

dashboards() { scripts/check_dashboards.py --self-test; }

compile_by_clippy
# Built before the fault scenarios, which need not ask cargo again.
export FAULTS_WORKER=${CARGO_TARGET_DIR:-$ROOT/target}/debug/worker
# A warning fails the step, also one that cargo repeats from an earlier build.
lints_and_build() {
  local said
  said=$(mktemp)
  cargo test --color never --workspace --all-targets --locked --no-run 2>&1 | tee "$said"
  # shellcheck disable=SC2016  # cargo's quotes
  if grep -qE '^warning: `[^`]+` \(.*\) generated [0-9]+ warning' "$said"; then die "a warning is an error here"; fi
  rm "$said"
}

# play ARGUMENTS...: tests, by nextest if it is here.
play() {
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-tests pass "$@" 2>&1 | tee "$log"
  else
    # They take minutes. The limit is there so that a test that hangs is an answer too.
    timeout --kill-after=30 45m cargo test --workspace --all-targets --locked --no-fail-fast "$@" 2>&1 | tee "$log"
  fi
}

unit_tests() { play --lib --bins; }

all_tests() {
  play
  cargo test --workspace --doc --locked --quiet
}

# changed: the files that differ from the upstream branch, or from the last commit.
changed() {
  git diff --name-only "$(git rev-parse --verify --quiet '@{upstream}' || echo HEAD)"
  git ls-files --others --exclude-standard
}

# modules_of_changes: the integration tests that changed, those that scripts/test-map.txt names for other files, and one that sends
# messages all the way.
modules_of_changes() {
  local file name
  echo smoke::
  changed | while IFS= read -r file; do
    if [[ $file == */tests/integration/*/* || $file == */tests/integration/*.rs ]]; then
      name=${file#*/tests/integration/} && name=${name%%/*} && echo "${name%.rs}::"
    fi
    awk -v file="$file" '!/^#/ && index(file, $1) == 1 && length($1) > best { best = length($1); $1 = ""; tests = $0 }
      END { gsub(/ +/, "\n", tests); print tests }' scripts/test-map.txt
  done | grep -vE '^((main|mod|support)::)?$'
}
tests_of_changes() {
  local modules
  mapfile -t modules < <(modules_of_changes | sort -u)
  printf 'integration tests: %s\n' "${modules[*]}"
  play --test integration -- "${modules[@]}"
}

guard() {
  if [[ $long == yes ]]; then
    scripts/bench.sh --guard
  else
    # With what is built already: it compares costs within one run, so the profile matters little.
    BENCH_PROFILE=dev scripts/bench.sh --guard
  fi
}

if [[ -n $suite ]]; then
  step "servers of Debian $suite" make_servers
  SERVERS_ROOT=$(scripts/servers.sh "$suite")
  export SERVERS_ROOT
  step "Prometheus rules" prometheus_of_suite
  step "lints and build" lints_and_build
  start_servers
  # The other tests do not care which servers there are.
  step "integration tests" play --test integration
  stop_servers
  if python3 -c 'import yaml' 2>/dev/null; then
    step "Grafana dashboards against servers" scripts/dashboards.sh
  fi
  finish
fi
step "Rust toolchain" toolchain
[[ $fast == yes ]] || step "servers for the tests" scripts/services.sh install --observability --tests
step "cargo fmt --all --check" cargo fmt --all --check
step "shell scripts" shell_scripts
if [[ $quick == no ]]; then
  # None of these uses both cores.
  if have promtool; then
    step_beside "Prometheus rules" prometheus_rules
  else
    skip "Prometheus rules" "promtool is not installed (scripts/services.sh install --observability)"
  fi
  if docker compose version >/dev/null 2>&1 || have docker-compose; then
    step_beside "compose file" compose_file
  else
    skip "compose file" "docker compose is not installed"
  fi
  if python3 -c 'import yaml' 2>/dev/null; then
    step_beside "Grafana dashboards" dashboards
  else
    skip "Grafana dashboards" "python3 with PyYAML is not installed (apt-get install python3-yaml)"
  fi
  if [[ $fast == no ]]; then
    why=$(without_console)
    if [[ -z $why ]]; then step_beside "console: types, lint, byte-identical build" console check; else skip "console" "$why"; fi
  fi
  if cargo deny --version >/dev/null 2>&1; then
    # Advisories too where their database can be reached: cargo deny check advisories
    step_beside "cargo deny" cargo deny --workspace --locked check licenses bans sources
  else
    skip "cargo deny" "it is not installed (cargo install cargo-deny --locked)"
  fi
  join_steps
  if [[ $long == yes ]]; then
    if cargo fuzz --version >/dev/null 2>&1 && have c++; then
      step "fuzzing" scripts/fuzz.sh 30
    else
      skip "fuzzing" "cargo-fuzz or a C++ compiler is not installed (cargo install cargo-fuzz --locked; apt-get install g++)"
    fi
  fi
fi
step "lints and build" lints_and_build
if [[ $fast == yes ]]; then
  step "unit tests" unit_tests
  finish
fi
start_servers
if [[ $quick == yes ]]; then
  step "unit tests" unit_tests
  step "integration tests of what changed" tests_of_changes
  finish
fi
# It waits for Prometheus most of the time.
if python3 -c 'import yaml' 2>/dev/null; then
  step_beside "Grafana dashboards against servers, beside the tests" scripts/dashboards.sh
fi
step "tests" all_tests
stop_servers
join_steps
if [[ $long == yes ]]; then
  why=$(without_browser)
  if [[ -z $why ]]; then step "console in a browser" console test; else skip "console in a browser" "$why"; fi
fi
step "performance" guard
finish
