#!/usr/bin/env bash
# An upgrade under load: a worker of an earlier commit runs, the database is migrated by this checkout, a worker of this
# checkout joins, the old one leaves, and messages keep coming. Nothing may be lost, and views of others on a mart stay.
#
# upgrade-test.sh OLD_COMMIT [--messages N]
#     On private servers. Exit 1 when something is lost, differs or is gone.
#
# OLD_WORKER, NEW_WORKER and PUBLISHER name programs that are built already; the others are built (debug profile).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SETTLE_WITHIN=600 # seconds
old='' messages=20000
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) print_help && exit ;;
    --messages) messages=${2:?--messages needs a number} && shift ;;
    -*) die "unknown option $1, see $0 --help" ;;
    *) old=$1 ;;
  esac
  shift
done
[[ -n $old ]] || die "which commit? See $0 --help"

dir=$(mktemp -d "${TMPDIR:-/tmp}/acequia-upgrade-XXXXXX")
finish() {
  local status=$?
  trap - EXIT
  end_process "$dir/old-worker" TERM 30
  end_process "$dir/new-worker" TERM 30
  [[ $status -eq 0 ]] || tail -n 5 "$dir"/*.log >&2 || true
  "$ROOT/scripts/services.sh" stop "$dir/servers" --wipe
  [[ ! -d $dir/source ]] || git -C "$ROOT" worktree remove --force "$dir/source"
  rm -rf "$dir"
  exit "$status"
}
trap finish EXIT

if [[ -z ${OLD_WORKER:-} ]]; then
  say "building the worker of $old"
  git -C "$ROOT" worktree add --detach "$dir/source" "$old" >/dev/null
  (cd "$dir/source" && CARGO_TARGET_DIR=$dir/target cargo build --locked --workspace --bin worker)
  OLD_WORKER=$dir/target/debug/worker
fi
if [[ -z ${NEW_WORKER:-} || -z ${PUBLISHER:-} ]]; then
  say "building this checkout"
  (cd "$ROOT" && build_programs dev worker publisher)
  NEW_WORKER=${NEW_WORKER:-${CARGO_TARGET_DIR:-$ROOT/target}/debug/worker}
  PUBLISHER=${PUBLISHER:-${CARGO_TARGET_DIR:-$ROOT/target}/debug/publisher}
fi

"$ROOT/scripts/services.sh" start "$dir/servers" --any-port
while IFS= read -r line; do export "${line?}"; done <"$dir/servers/env"
owner=$DATABASE_URL

sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "${2:-$owner}" --command "$1" </dev/null; }
migrate() { DATABASE_URL=$owner "$1" --log warn migrate; }
start_worker() { # NAME PROGRAM
  local port
  # shellcheck disable=SC2119  # its argument is optional
  port=$(free_port)
  spawn "$dir/$1" "$dir/$1.log" env "DATABASE_URL=$WORKER_DATABASE_URL" "HTTP_ADDR=127.0.0.1:$port" "$2" run
  for _ in {1..300}; do
    curl -sS -f -m 5 -o /dev/null "http://127.0.0.1:$port/readyz" 2>/dev/null && return
    pid_of "$dir/$1" >/dev/null || die "the $1 stopped"
    sleep 0.2
  done
  die "the $1 is not ready"
}
confirmed=0
publish() { # SEED, twice as many messages as asked for, half of them academico
  local report count
  for load in "academico --alumnos $((messages / 4)) --inscripciones $((messages / 4)) --calificaciones $((messages / 2))" \
    "consumo --clients 20 --days $((messages / 480 + 1)) --start 60d"; do
    # shellcheck disable=SC2086  # a list of arguments
    report=$("$PUBLISHER" --log warn generate $load --seed "$1" --invalid 1 --duplicates 2 --json)
    count=$(grep -oE '"confirmed" *: *[0-9]+' <<<"$report" | head -n 1 | grep -oE '[0-9]+$')
    confirmed=$((confirmed + count))
  done
}
settled() {
  local began=$SECONDS received staged
  while :; do
    read -r received staged < <(sql "select coalesce(sum(received), 0) || ' ' || coalesce(sum(staged), 0) from core.conservation")
    ((received < confirmed || staged > 0)) || return 0
    ((SECONDS - began < SETTLE_WITHIN)) || die "received $received of $confirmed, staged $staged"
    sleep 0.5
  done
}

migrate "$OLD_WORKER"
start_worker old-worker "$OLD_WORKER"

say "the old worker under load"
publish 1
sql "create schema own; create view own.good as select * from marts.kpi_grupo where promedio > 6;
  create role somebody login; grant usage on schema own, marts to somebody; grant select on own.good, marts.kpi_materia to somebody"
say "migrating while it works"
migrate "$NEW_WORKER" &
publish 2
wait $!
migrated_at=$(sql "select clock_timestamp()")
say "old and new side by side"
start_worker new-worker "$NEW_WORKER"
publish 3
pid_of "$dir/old-worker" >/dev/null || die "the old worker stopped"
settled
say "the new worker alone"
end_process "$dir/old-worker" TERM 30
publish 4
settled

fail=no
expect() { # WHAT IS SHOULD
  if [[ $2 == "$3" ]]; then say "ok    $1: $2"; else say "WRONG $1: $2, not $3" && fail=yes; fi
}
expect "received of the confirmed" "$(sql 'select sum(received) from core.conservation')" "$confirmed"
expect "difference" "$(sql 'select sum(abs(difference)) from core.conservation')" 0
expect "staged or waiting" "$(sql 'select sum(staged + pending) from core.conservation')" 0
expect "workers since migrate" "$(sql "select count(distinct worker) from core.batches where received_at > '$migrated_at'")" 2
# A row that the old contract lets pass and the table refuses stops the old worker's promotion; the new one isolates it.
grep 'ERROR' "$dir/old-worker.log" | grep -v 'failure="bad_data"' >"$dir/errors" || true
cat "$dir/errors"
expect "errors of the old worker besides refused rows" "$(wc -l <"$dir/errors")" 0
expect "the view of somebody" "$(sql "select has_table_privilege('somebody', 'own.good', 'select') and (select count(*) >= 0 from own.good)")" t
expect "the grant on a mart" "$(sql "select has_table_privilege('somebody', 'marts.kpi_materia', 'select')")" t
expect "rules that fail" "$(sql "select count(*) from core.dq_status where outcome in ('fail', 'error')")" 0
[[ $fail == no ]] || exit 1
say "$confirmed messages, nothing lost"
