#!/usr/bin/env bash
# How fast readings of domain consumo are drained from a full queue, judged and in the marts; and how much slower that
# is when the database is full of earlier readings.
#
# bench_consumo.sh [--clients N] [--history DAYS,...] [--promote-max N] [--runs N] [--keep]
#     --clients N     clients; each sends the 24 readings of a day, hour by hour (default 10000)
#     --history DAYS  each run drains the same readings into a database without earlier readings, and into one for each of
#                     these numbers of days of every client (default: only without)
#     --promote-max N rows of one promotion, as PROMOTE_MAX of the worker (default 80000, that of the worker)
#     --runs N        how often, each time on a database of its own; medians are reported (default 3)
#     --keep          leave the servers' folder for a look
#
# It starts private servers (scripts/services.sh), fills the queue, starts a worker, and takes the time from the start of
# the worker until everything is promoted: the marts are views, and show it at once. The time in core.promote alone is
# taken from core.etl_run_log. Compare figures of one run only.
#
# The earlier days repeat each client's own day with other noise, inserted by SQL; one client in ten behaves, in the last
# three days and on the drained day, as never before. The drained day is the last of a month, so that it meets a
# partition that is full. The day before is judged, so that the baselines are there that a worker leaves.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly DAY=2024-09-30

clients=10000 history='' runs=3 promote_max=80000 keep=no
while [[ $# -gt 0 ]]; do
  case $1 in
    --clients) clients=${2:?--clients needs a number} && shift ;;
    --history) history=${2:?--history needs numbers} && shift ;;
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

(cd "$ROOT" && build_programs release worker publisher >&2)
bin=${CARGO_TARGET_DIR:-$ROOT/target}/release
"$ROOT/scripts/services.sh" install >&2
"$ROOT/scripts/services.sh" start "$dir" --any-port >&2
while IFS= read -r line; do declare "${line?}"; done <"$dir/env"
owner=${DATABASE_URL%/*}
worker=${WORKER_DATABASE_URL%/*}
export AMQP_URL PROMOTE_MAX=$promote_max HTTP_ADDR=${WORKER_URL#http://}

# sql DATABASE STATEMENT
sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$owner/$1" --command "$2"; }
# clone TEMPLATE DATABASE
clone() { psql --no-psqlrc --quiet --dbname "$ADMIN_DATABASE_URL" --command "create database $2 owner app template $1 strategy file_copy" >&2; }

# drain DATABASE PERCENT: drains a day in which PERCENT of the clients are suspicious; prints seconds, seconds in core.promote, readings.
drain() {
  local database=$1 received staged sent begun ended
  DATABASE_URL=$worker/$database "$bin/worker" run 2>>"$dir/worker.log" & worker_pid=$!
  # The first start declares the queue.
  "$bin/worker" health --wait 30s >/dev/null
  kill "$worker_pid" && wait "$worker_pid"
  "$bin/publisher" generate consumo --clients "$clients" --start $DAY --days 1 --seed 1 --suspicious "$2" --quiet >&2
  sent=$((clients * 25)) # a client and 24 readings each

  begun=$(date +%s.%N)
  DATABASE_URL=$worker/$database "$bin/worker" run 2>>"$dir/worker.log" & worker_pid=$!
  while :; do
    IFS='|' read -r received staged < <(sql "$database" 'select coalesce(sum(received), 0), coalesce(sum(staged), 0) from core.conservation')
    ((received < sent || staged > 0)) || break
    kill -0 "$worker_pid" || die "the worker stopped"
    sleep 0.05
  done
  ended=$(date +%s.%N)
  kill "$worker_pid" && wait "$worker_pid"
  worker_pid=
  [[ $received == "$sent" && $(sql "$database" 'select count(*) from consumo.lecturas where batch_id > 0') == $((clients * 24)) ]] ||
    die "not every reading is in the core: received $received of $sent"
  printf '%s %s %s\n' "$(awk "BEGIN { print $ended - $begun }")" \
    "$(sql "$database" "select extract(epoch from sum(finished_at - started_at)) from core.etl_run_log where loop = 'promote'")" "$((clients * 24))"
}

# copy FROM TO TABLE [INTO]: the rows of a table of one database into another.
copy() {
  psql --no-psqlrc --quiet --dbname "$owner/$1" --command "copy $3 to stdout" |
    psql --no-psqlrc --quiet --dbname "$owner/$2" --command "copy ${4:-$3} from stdin" >&2
}

# fill DAYS PATTERN NEAR: puts the days before DAY into database before_DAYS, made from the one day of each client that is in
# PATTERN; the last three from that in NEAR.
fill() {
  local database=before_$1
  # The clients too: if the drain were the first to bring their clocks, it would cut all days anew.
  copy "$2" "$database" consumo.clientes
  sql "$database" 'create table public.patron (like consumo.dias); create table public.patron_near (like consumo.dias)'
  copy "$2" "$database" consumo.dias public.patron
  copy "$3" "$database" consumo.dias public.patron_near
  sql "$database" "select setseed(0.5);
    select core.partition_by_month('consumo.lecturas', (date '$DAY' - i * 28)) from generate_series(0, $1 / 28 + 1) i" >/dev/null
  sql "$database" "insert into consumo.dias
    select p.propietario_id, p.fecha - i, p.inicio - i * interval '1 day', 24, s.wh || null::int, s.marcas || null::smallint, 24, s.suma,
           s.cuadrados, s.minimo, s.maximo, 7, s.noche_suma, 5, s.punta_suma, 0, 0, 0
    from generate_series($1, 1, -1) i
    join (
        select p.*, false as near from public.patron p
        union all
        select p.*, true from public.patron_near p
    ) p on p.near = (i <= 3)
    cross join lateral (
        select array_agg(x.v order by x.k) as wh, array_agg((x.k * 16)::smallint order by x.k) as marcas, sum(x.v) as suma,
               sum(x.v::float8 * x.v) as cuadrados, min(x.v) as minimo, max(x.v) as maximo,
               sum(x.v) filter (where x.k < 6 or x.k = 23) as noche_suma, sum(x.v) filter (where x.k between 18 and 22) as punta_suma
        from (
            select u.k::int - 1 as k, (u.v * (0.8 + 0.4 * random()))::int as v from unnest(p.wh) with ordinality u (v, k) where i > 0 and u.k < 25
        ) x
    ) s"
  # Without its index while it is filled.
  sql "$database" "alter table consumo.lecturas drop constraint lecturas_pkey;
    insert into consumo.lecturas (propietario_id, instante, hora, consumo_kwh, es_sospechoso, anomalia_esperada,
        event_at, message_id, batch_id)
    select d.propietario_id, d.inicio + (u.k - 1) * interval '1 hour', u.k - 1, u.v / 1000.0, false, false,
           d.inicio + u.k * interval '1 hour', gen_random_uuid(), 0
    from consumo.dias d
    cross join lateral unnest(d.wh) with ordinality u (v, k)
    where u.v is not null;
    -- As full as an index that has grown.
    alter table consumo.lecturas add primary key (instante, propietario_id) with (fillfactor = 70)"
  sql "$database" "select consumo.evaluate_seasonal(array_agg(propietario_id), array_agg(fecha)) from consumo.dias where fecha = date '$DAY' - 1" >/dev/null
  sql "$database" 'drop table public.patron, public.patron_near'
  sql "$database" 'vacuum (analyze, freeze) consumo.clientes, consumo.lecturas, consumo.dias, consumo.bases'
}

psql --no-psqlrc --quiet --dbname "$ADMIN_DATABASE_URL" --command 'create database before_0 owner app' >&2
# Rights of a role's settings hold in the database in which worker migrate gave them.
DATABASE_URL=$owner/before_0 ACEQUIA_WORKER_PASSWORD=$ACEQUIA_WORKER_PASSWORD "$bin/worker" --log warn migrate >&2
IFS=, read -ra histories <<<"$history"
if [[ ${#histories[@]} -gt 0 ]]; then
  for percent in 0 10; do
    clone before_0 "pattern_$percent"
    drain "pattern_$percent" "$percent" >/dev/null
  done
fi
for before in "${histories[@]}"; do
  say "putting $before days of $clients clients into a database"
  began=$SECONDS
  clone before_0 "before_$before"
  fill "$before" pattern_0 pattern_10
  say "  $(sql "before_$before" 'select count(*) from consumo.lecturas') readings, $((SECONDS - began)) s"
done

: >"$dir/runs"
for ((run = 1; run <= runs; run++)); do
  say "run $run of $runs"
  for before in 0 "${histories[@]}"; do
    clone "before_$before" "run_${run}_$before"
    printf '%s %s\n' "$before" "$(drain "run_${run}_$before" 10)" >>"$dir/runs"
    tail -n 1 "$dir/runs" | awk '{ printf "  %d days before: %.1f s, %d readings/s; core.promote %.1f s\n", $1, $2, $4 / $2, $3 }' >&2
  done
done

awk -v clients="$clients" -v promote="$promote_max" -v runs="$runs" '
  function median(list, n,    i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  { n[$1]++; drained[$1, n[$1]] = $4 / $2; merged[$1, n[$1]] = $4 / $3; if (!($1 in seen)) order[++cases] = $1; seen[$1] }
  END {
    print "| clients | days before | rows per promotion | runs | drained, judged and in the marts per second | readings per second of core.promote |"
    print "|---:|---:|---:|---:|---:|---:|"
    for (c = 1; c <= cases; c++) {
      for (i = 1; i <= runs; i++) { d[i] = drained[order[c], i]; m[i] = merged[order[c], i] }
      printf "| %d | %d | %d | %d | %.0f | %.0f |\n", clients, order[c], promote, runs, D[c] = median(d, runs), M[c] = median(m, runs)
    }
    for (c = 2; c <= cases; c++)
      printf "\n%d days before: the whole is %.0f %% slower, core.promote %.0f %%.\n", order[c], (D[1] / D[c] - 1) * 100, (M[1] / M[c] - 1) * 100
  }' "$dir/runs"
