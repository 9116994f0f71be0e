#!/usr/bin/env bash
# How fast readings of domain consumo are drained from a full queue, judged and in the marts.
#
# bench_consumo.sh [--clients N] [--history DAYS] [--promote-max N] [--runs N] [--keep]
#     --clients N     clients; each sends the 24 readings of a day, hour by hour (default 10000)
#     --history DAYS  days of readings that are in the core already, put there set-based and not judged (default 0)
#     --promote-max N rows of one promotion, as PROMOTE_MAX of the worker (default 20000, that of the worker)
#     --runs N        how often, each time on an empty database; the median is reported (default 3)
#     --keep          leave the servers' folder for a look
#
# It starts private servers (scripts/services.sh), fills the queue, starts a worker, and takes the time from the start of
# the worker until everything is promoted: the marts are views, and show it at once. Compare runs of one machine only.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

clients=10000 history=0 runs=3 promote_max=20000 keep=no
while [[ $# -gt 0 ]]; do
  case $1 in
    --clients) clients=${2:?--clients needs a number} && shift ;;
    --history) history=${2:?--history needs a number} && shift ;;
    --runs) runs=${2:?--runs needs a number} && shift ;;
    --promote-max) promote_max=${2:?--promote-max needs a number} && shift ;;
    --keep) keep=yes ;;
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
export AMQP_URL PROMOTE_MAX=$promote_max

sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$1" --command "$2"; }

# Days before 2024-09-02: every hour of every client, as numbers that look like a household's.
fill() {
  sql "$1" "do \$\$ begin for i in 0..($history / 28 + 1) loop
    perform core.partition_by_month('consumo.lecturas', date '2024-09-01' - i * 28); end loop; end \$\$"
  # The clients as the publisher will send them again: a clock that became known now would have all days cut anew.
  sql "$1" "insert into consumo.clientes (propietario_id, nombre, zona, event_at, message_id, batch_id)
    select 'CLI_' || lpad(c::text, 5, '0'), 'x', case when c % 20 = 0 then 'Atlantic/Canary' else 'Europe/Madrid' end,
           '2024-01-01', gen_random_uuid(), 0
    from generate_series(1, $clients) c"
  sql "$1" "insert into consumo.lecturas (propietario_id, instante, hora, consumo_kwh, es_sospechoso, anomalia_esperada,
      event_at, message_id, batch_id)
    select c.propietario_id, t, h.hora, round((0.1 + 0.6 * random() * (1 - abs(h.hora - 20) / 24.0))::numeric, 3),
           false, false, t + interval '1 hour', gen_random_uuid(), 0
    from consumo.clientes c
    cross join lateral generate_series('2024-09-02'::timestamp at time zone c.zona - $history * interval '1 day',
        '2024-09-01 23:00'::timestamp at time zone c.zona, interval '1 hour') t
    cross join lateral (select extract(hour from t at time zone c.zona)::int as hora) h"
  sql "$1" "insert into consumo.dias
    select l.propietario_id, l.fecha, min(l.instante), 24, array_agg(l.wh order by l.instante) || null::int,
           array_agg((l.hora * 16)::smallint order by l.instante) || null::smallint, count(*), sum(l.wh), sum(l.wh::float8 * l.wh),
           min(l.wh), max(l.wh), count(*) filter (where l.noche), sum(l.wh) filter (where l.noche),
           count(*) filter (where l.hora between 18 and 22), sum(l.wh) filter (where l.hora between 18 and 22), 0, 0, 0
    from (
        select x.propietario_id, x.instante, x.hora, (x.consumo_kwh * 1000)::int as wh, x.hora < 6 or x.hora = 23 as noche,
               (x.instante at time zone c.zona)::date as fecha
        from consumo.lecturas x
        join consumo.clientes c on c.propietario_id = x.propietario_id
    ) l
    group by l.propietario_id, l.fecha"
  # As a worker leaves it that has been at it: the baselines of the day before are there, a seventh are new each day.
  sql "$1" "select consumo.formar_bases(array_agg(propietario_id), array_agg(consumo.base_de(propietario_id, fecha)))
    from consumo.dias where fecha = '2024-09-01'" >/dev/null
  sql "$1" 'vacuum analyze consumo.lecturas, consumo.dias, consumo.bases'
}

# one: one drain; prints "seconds messages".
one() {
  local name="bench_$1" database received staged sent begun ended
  sql "$ADMIN_DATABASE_URL" "create database $name owner app" >&2
  database=${OWNER_DATABASE_URL%/*}/$name
  DATABASE_URL=$database ACEQUIA_WORKER_PASSWORD=$ACEQUIA_WORKER_PASSWORD "$bin/worker" --log warn migrate >&2
  # The promote loop may set what migrate grants it, in a database of its own too.
  export DATABASE_URL=${WORKER_DATABASE_URL%/*}/$name HTTP_ADDR=${WORKER_URL#http://}
  ((history == 0)) || fill "$database" >&2
  # The first start declares the queue.
  "$bin/worker" run 2>>"$dir/worker.log" & worker_pid=$!
  "$bin/worker" health --wait 30s >/dev/null
  kill "$worker_pid" && wait "$worker_pid"
  "$bin/publisher" generate consumo --clients "$clients" --days 1 --seed "$1" --quiet >&2
  sent=$((clients * 25)) # a client and 24 readings each

  begun=$(date +%s.%N)
  "$bin/worker" run 2>>"$dir/worker.log" & worker_pid=$!
  while :; do
    IFS='|' read -r received staged < <(sql "$database" 'select coalesce(sum(received), 0), coalesce(sum(staged), 0) from core.conservation')
    ((received < sent || staged > 0)) || break
    kill -0 "$worker_pid" || die "the worker stopped"
    sleep 0.05
  done
  ended=$(date +%s.%N)
  printf '%s %s\n' "$(awk "BEGIN { print $ended - $begun }")" "$received"
  kill "$worker_pid" && wait "$worker_pid"
  worker_pid=
}

: >"$dir/runs"
for ((run = 1; run <= runs; run++)); do
  say "run $run of $runs"
  one "$run" >>"$dir/runs"
  tail -n 1 "$dir/runs" | awk '{ printf "  %.1f s, %d messages/s\n", $1, $2 / $1 }' >&2
done
rate=$(awk '{ print $2 / $1 }' "$dir/runs" | sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }')
printf '| clients | days before | rows per promotion | runs | drained, judged and in the marts per second (median) |\n|---|---|---|---|---|\n'
printf '| %d | %d | %d | %d | %.0f |\n' "$clients" "$history" "$promote_max" "$runs" "$rate"
