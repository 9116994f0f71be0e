#!/usr/bin/env bash
# How fast a full queue is drained into the core, with broker, database and worker on this machine.
#
# bench.sh [--messages N] [--runs N] [--shuffle] [--keep] [--json]
#     --messages N  messages in the queue before the worker starts (default 100000)
#     --runs N      how often, each time on an empty database; the median is reported (default 3)
#     --shuffle     send in random order: most rows then come before the rows they refer to, and have to wait
#     --keep        leave the servers' folder for a look
#     --json        print a JSON object instead of a table
#
# It starts private servers (scripts/services.sh), sends the demo data of the first domain to its queue, starts a
# worker, and takes the time from the start of the worker until everything is promoted. Figures depend on the machine:
# compare runs of one machine only.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

messages=100000 runs=3 keep=no json=no order=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --messages) messages=${2:?--messages needs a number} && shift ;;
    --runs) runs=${2:?--runs needs a number} && shift ;;
    --shuffle) order=(--shuffle) ;;
    --keep) keep=yes ;;
    --json) json=yes ;;
    -h | --help)
      print_help
      exit
      ;;
    *) die "unknown option $1, see $0 --help" ;;
  esac
  shift
done

dir=$(mktemp -d /tmp/acequia-bench.XXXXXX)
worker_pid=
cleanup() {
  [[ -z $worker_pid ]] || kill "$worker_pid" 2>/dev/null || true
  if [[ $keep == yes ]]; then say "left in $dir; stop it with: scripts/services.sh stop $dir --wipe"; else
    "$ROOT/scripts/services.sh" stop "$dir" --wipe >&2
    rm -rf "$dir"
  fi
}
trap cleanup EXIT

(cd "$ROOT" && cargo build --release --locked -p acequia-worker -p acequia-publisher >&2)
bin=${CARGO_TARGET_DIR:-$ROOT/target}/release
"$ROOT/scripts/services.sh" install >&2
"$ROOT/scripts/services.sh" start "$dir" --any-port >&2
while IFS= read -r line; do declare "${line?}"; done <"$dir/env"
OWNER_DATABASE_URL=$DATABASE_URL
export AMQP_URL

sql() { psql --no-psqlrc --quiet --tuples-only --no-align --dbname "$1" --command "$2"; }

# cpu PID: CPU seconds of a process and of the children it has waited for.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' "/proc/$1/stat"; }

# one: one drain on an empty database; prints "seconds messages peak_kb cpu_seconds".
one() {
  local name="bench_$1" database received staged begun ended
  sql "$ADMIN_DATABASE_URL" "create database $name owner app" >&2
  database=${OWNER_DATABASE_URL%/*}/$name
  DATABASE_URL=$database ACEQUIA_WORKER_PASSWORD=$ACEQUIA_WORKER_PASSWORD "$bin/worker" --log warn migrate >&2
  export DATABASE_URL=${WORKER_DATABASE_URL%/*}/$name HTTP_ADDR=${WORKER_URL#http://}
  # The first start declares the queue.
  "$bin/worker" run 2>>"$dir/worker.log" & worker_pid=$!
  "$bin/worker" health --wait 30s >/dev/null
  kill "$worker_pid" && wait "$worker_pid"
  local domain rest students=$((messages / 10)) enrolments=$((messages * 3 / 10))
  read -r domain rest < <(sed -n '1s/^-- demo: *//p' "$(find "$ROOT"/sql/demo -name '*.sql' | sort | head -n 1)")
  : "$rest"
  "$bin/publisher" generate "$domain" --seed "$1" --alumnos "$students" --inscripciones "$enrolments" \
    --calificaciones $((messages - students - enrolments - 650)) "${order[@]}" --quiet >&2

  begun=$(date +%s.%N)
  "$bin/worker" run 2>>"$dir/worker.log" & worker_pid=$!
  while :; do
    IFS='|' read -r received staged < <(sql "$database" 'select coalesce(sum(received), 0), coalesce(sum(staged), 0) from core.conservation')
    ((received < messages || staged > 0)) || break
    kill -0 "$worker_pid" || die "the worker stopped"
    sleep 0.05
  done
  ended=$(date +%s.%N)
  printf '%s %s %s %s\n' "$(awk "BEGIN { print $ended - $begun }")" "$received" \
    "$(awk '/VmHWM/ { print $2 }' "/proc/$worker_pid/status")" "$(cpu "$worker_pid")"
  kill "$worker_pid" && wait "$worker_pid"
  worker_pid=
}

: >"$dir/runs"
for ((run = 1; run <= runs; run++)); do
  say "run $run of $runs"
  one "$run" >>"$dir/runs"
  tail -n 1 "$dir/runs" | awk '{ printf "  %.1f s, %d messages/s, worker %.0f MB, %.1f s CPU\n", $1, $2 / $1, $3 / 1024, $4 }' >&2
done

# median EXPRESSION: over the runs, of an awk expression over the fields of a run
median() { awk "{ print $1 }" "$dir/runs" | sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# shellcheck disable=SC2016  # awk expressions
rate=$(median '$2 / $1') memory=$(median '$3 / 1024') micros=$(median '$4 * 1e6 / $2')
if [[ $json == yes ]]; then
  printf '{"messages": %d, "runs": %d, "messages_per_second": %.0f, "worker_peak_mb": %.1f, "worker_cpu_us_per_message": %.1f}\n' \
    "$messages" "$runs" "$rate" "$memory" "$micros"
else
  printf '\n| messages | runs | drained per second (median) | worker, peak memory | worker, CPU per message |\n|---|---|---|---|---|\n'
  printf '| %d | %d | %.0f | %.0f MB | %.1f us |\n' "$messages" "$runs" "$rate" "$memory" "$micros"
fi
