#!/usr/bin/env bash
# From a fresh checkout to a running pipeline with demo data, with one command.
#
# bootstrap.sh [--native | --compose] [--release] [--no-demo] [--verbose]
#
# With a Docker engine everything runs in containers (docker-compose.yml). Without one, private servers are started in
# .acequia/ (scripts/services.sh) and the programs are built with cargo. --compose and --native choose one of the two.
# --release builds the native programs optimised across crates, which takes twice as long; without it they are those that
# `cargo test` builds, too. --no-demo sends no demo data. The output of each step goes to .acequia/bootstrap.log; --verbose shows it.
#
# May be repeated: running programs are kept, a worker whose program changed is restarted, and demo messages that are
# already there count as duplicates. scripts/down.sh stops what this started.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RUN_DIR=$ROOT/.acequia
PROMOTE_WITHIN=300 # seconds the demo data may take

# --- steps ----------------------------------------------------------------------------------------------------------
# Each step is one line; what it says itself goes to the log, whose end is shown when it fails.

LOG=$RUN_DIR/bootstrap.log
verbose=no
step_now=
result=
warnings=
release=no

begin_log() {
  mkdir -p "$RUN_DIR"
  : >"$LOG"
  exec 3>&2
  trap end_log EXIT
}

end_log() {
  local status=$?
  [[ $status -ne 0 && -n $step_now ]] || return 0
  [[ $verbose == yes ]] || { printf 'FAILED\n\n' && tail -n 40 "$LOG"; } >&3
  printf '\n%s failed. All that was said: %s\n' "$step_now" "${LOG#"$ROOT/"}" >&3
}

# step WHAT COMMAND...: runs it in this shell. `result` is what its line ends with.
step() {
  local began=$SECONDS
  step_now=$1 result=ok
  shift
  printf '\n--- %s\n' "$step_now" >>"$LOG"
  if [[ $verbose == yes ]]; then
    printf '\n--- %s\n' "$step_now" >&3
    "$@" > >(tee -a "$LOG") 2> >(tee -a "$LOG" >&2)
    printf -- '--- %s: %s (%d s)\n' "$step_now" "$result" $((SECONDS - began)) >&3
  else
    printf '%-22s ' "$step_now" >&3
    "$@" >>"$LOG" 2>&1
    printf '%s (%d s)\n' "$result" $((SECONDS - began)) >&3
  fi
  step_now=
}

# --- which way -------------------------------------------------------------------------------------------------

find_compose() {
  docker info >/dev/null 2>&1 || return 1
  if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
  elif have docker-compose; then
    compose=(docker-compose)
    export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
  else
    return 1
  fi
}

# Passwords and names become parts of addresses, in either mode.
check_credentials() {
  local name
  for name in POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB POSTGRES_SUPERUSER_PASSWORD ACEQUIA_WORKER_PASSWORD \
    ACEQUIA_ANALYST_PASSWORD ACEQUIA_ARCHIVE_PASSWORD ACEQUIA_OPERATOR_PASSWORD ACEQUIA_API_PASSWORD RABBITMQ_USER RABBITMQ_PASSWORD; do
    [[ -z ${!name:-} || ${!name} =~ ^[A-Za-z0-9_.~-]+$ ]] ||
      die "$name may contain letters, digits and . _ ~ - only: it becomes part of addresses" \
        "change it in .env or the environment, then run this again"
  done
}

choose_mode() {
  case $mode in
    compose) find_compose || die "--compose needs a running Docker engine and docker compose" "without them: $0 --native" ;;
    auto) if find_compose; then mode=compose; else mode=native; fi ;;
  esac
  local before
  before=$(value_of "$RUN_DIR/mode" MODE)
  [[ -z $before || $before == "$mode" ]] || die "it already runs the other way ($before)" "stop that first: scripts/down.sh"
  mkdir -p "$RUN_DIR"
  set_value "$RUN_DIR/mode" MODE "$mode"
}

# shellcheck source=scripts/bootstrap/native.sh
source "$ROOT/scripts/bootstrap/native.sh"
# shellcheck source=scripts/bootstrap/compose.sh
source "$ROOT/scripts/bootstrap/compose.sh"

# --- both ------------------------------------------------------------------------------------------------------

# Each of these has a native and a compose form.
up() { "${mode}_up"; }
worker() { "${mode}_worker_command" "$@"; }
api() { "${mode}_api_command" "$@"; }
publisher() { "${mode}_publisher" "$@"; }
sql() { "${mode}_psql" "$@"; }

# fail: like die, with the end of the worker's log.
fail() {
  say "--- the end of the worker's log:"
  "${mode}_log" >&2 || true
  say "---"
  die "$@"
}

# Totals over all domains: received staged difference
conservation_totals() {
  sql --tuples-only --no-align --field-separator ' ' --command \
    'select coalesce(sum(received), 0), coalesce(sum(staged), 0), coalesce(sum(unaccounted), 0) from core.conservation' </dev/null
}

demo_data() {
  local file args report sent=0 count before _ received staged difference began=$SECONDS shown=
  read -r before _ < <(conservation_totals)
  for file in "$ROOT"/sql/demo/*.sql; do
    args=$(sed -n '1s/^-- demo: *//p' "$file")
    [[ -n $args ]] || die "$file does not start with a line '-- demo: <arguments of publisher generate>'"
    say "demo data: $args"
    # shellcheck disable=SC2086  # a list of arguments
    report=$(publisher generate $args --json) || fail "the publisher failed"
    # The first "confirmed" is the total; those of the entities follow.
    count=$(grep -oE '"confirmed" *: *[0-9]+' <<<"$report" | head -n 1 | grep -oE '[0-9]+$') ||
      die "the publisher did not say how many messages were confirmed" "it said: $report"
    say "  $count messages confirmed by RabbitMQ"
    sent=$((sent + count))
  done

  while :; do
    read -r received staged difference < <(conservation_totals)
    if [[ "$received $staged" != "$shown" ]]; then
      say "  received $((received - before)) of $sent, waiting for promotion: $staged"
      shown="$received $staged"
    fi
    ((received - before < sent || staged > 0)) || break
    ((SECONDS - began < PROMOTE_WITHIN)) ||
      fail "not everything was promoted within $PROMOTE_WITHIN s" \
        "received $((received - before)) of $sent, staged $staged, difference $difference"
    sleep 0.5
  done
  worker check >/dev/null || say "note: worker check reported a problem, see the data quality below"
  worker refresh >/dev/null || fail "worker refresh failed"
  result="$sent messages confirmed by RabbitMQ, all promoted"
}

# Results of the marts go to the log; the screen has the ledger of all messages, and rules that did not pass.
demo_results() {
  local file
  for file in "$ROOT"/sql/demo/*.sql; do
    sql --file - <"$file"
  done
  sql --command 'select * from core.conservation' </dev/null
  sql --command 'select outcome, severity, rule, measured, threshold, failing_count from core.dq_status' </dev/null
  result=$(sql --tuples-only --no-align --command "select format('%s of %s pass', count(*) filter (where outcome = 'pass'), count(*))
    || coalesce(', not: ' || string_agg(rule || ' (' || severity || ')', ', ') filter (where outcome <> 'pass'), '') from core.dq_status" </dev/null)
}

show_account() {
  printf '\nEvery message accounted for (core.conservation; unaccounted must be 0):\n'
  sql --command "select domain, sum(received) as received, sum(duplicates) as duplicates, sum(promoted) as promoted, sum(stale) as stale,
      sum(pending) as pending, sum(quarantined) as quarantined, sum(unaccounted) as unaccounted from core.conservation group by domain order by domain" </dev/null
}

examine() {
  local found
  found=$(worker doctor) || { printf '%s\n' "$found" && fail "worker doctor found a problem"; }
  printf '%s\n' "$found"
  warnings=$(grep -A1 '^WARN' <<<"$found" || true)
  result="$(grep -c '^ok' <<<"$found" || true) checks ok${warnings:+, $(grep -c "^WARN" <<<"$warnings") to read below}"
}

# There is no default password: the first login is made here, once, and shown once.
first_login() {
  login=
  [[ $(sql --tuples-only --no-align --command 'select count(*) from core.api_people' </dev/null) == 0 ]] || return 0
  login=$(api user add admin --role admin 2>/dev/null) || fail "the first login could not be made"
  result="made"
}

show_login() {
  [[ -n ${login:-} ]] || return 0
  printf '\nFirst login of the API, shown once: admin / %s\n' "$login"
  printf '  another password: %s\n' "$([[ $mode == native ]] && echo "${bin#"$ROOT/"}/api user set-password admin" || echo "${compose[*]} exec api api user set-password admin")"
}

show_addresses() {
  if [[ $mode == native ]]; then
    cat <<TEXT

Running (addresses and passwords: .acequia/env):
  Grafana     ${GRAFANA_URL:-not installed; its dashboards: docs/dashboards, grafana/dashboards (to import)}
  Prometheus  $PROMETHEUS_URL (alerts: /alerts${ALERTMANAGER_URL:+, Alertmanager $ALERTMANAGER_URL})
  RabbitMQ    $RABBITMQ_MANAGEMENT_URL, user $RABBITMQ_USER
  worker      $WORKER_URL/metrics (also /livez, /readyz), log .acequia/worker.log
  API         $API_URL (console at /, docs/console.md; /openapi.json, docs/api.md), log .acequia/api.log

Next:
  set -a; source .acequia/env; DATABASE_URL=\$WORKER_DATABASE_URL; set +a
  psql "\$ANALYST_DATABASE_URL" -c 'select * from marts.freshness'   marts: docs/marts
  ${bin#"$ROOT/"}/publisher send FILE                             your messages: docs/publish.md
  ${bin#"$ROOT/"}/worker doctor                                   look at everything again
  ${bin#"$ROOT/"}/worker quarantine stats                         what was refused
  scripts/down.sh                                                 stop everything (--wipe also deletes the data)
TEXT
  else
    cat <<TEXT

Running:
  Grafana     http://127.0.0.1:${GRAFANA_PORT:-3000}, to look at without a login
  Prometheus  http://127.0.0.1:${PROMETHEUS_PORT:-9090} (alerts: /alerts, Alertmanager http://127.0.0.1:${ALERTMANAGER_PORT:-9093})
  RabbitMQ    http://127.0.0.1:${RABBITMQ_MANAGEMENT_PORT:-15672}, user ${RABBITMQ_USER:-app}
  worker      http://$(compose_address worker 9464)/metrics (also /livez, /readyz)
  API         http://127.0.0.1:${API_PORT:-8080} (console at /, docs/console.md; /openapi.json, docs/api.md)

Next:
  ${compose[*]} exec postgres psql -U ${POSTGRES_USER:-app} ${POSTGRES_DB:-payments}
  ${compose[*]} exec worker worker doctor
  ${compose[*]} run --rm operator quarantine stats
  ${compose[*]} run --rm publisher --help
  scripts/down.sh                     stop everything (--wipe also deletes the data)
TEXT
  fi
  printf '\nWhat every step said, figures of the marts, every rule: %s\n' "${LOG#"$ROOT/"}"
}

main() {
  mode=auto
  local demo=yes
  while [[ $# -gt 0 ]]; do
    case $1 in
      --native) mode=native ;;
      --compose) mode=compose ;;
      --no-demo) demo=no ;;
      --release) release=yes ;;
      --verbose) verbose=yes ;;
      -h | --help)
        print_help
        return
        ;;
      *) die "unknown option $1, see $0 --help" ;;
    esac
    shift
  done
  load_dotenv
  check_credentials
  choose_mode
  begin_log
  up
  step "doctor" examine
  step "first login" first_login
  if [[ $demo == yes ]]; then
    step "demo messages" demo_data
    step "data quality rules" demo_results
    show_account
  fi
  [[ -z $warnings ]] || printf '\nThe doctor warns:\n%s\n' "$warnings"
  show_addresses
  show_login
}

main "$@"
