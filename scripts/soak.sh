#!/usr/bin/env bash
# Measures the cost of many small batches and of many rows without a day, and whether retention keeps up.
#
# soak.sh [--batches N] [--rows N] [--seconds S] [--rate N] [--keep]
#     --batches N   one-message batches (default 5000000)
#     --rows N      staged rows whose ids have no day (default 10000000)
#     --seconds S   how long such rows go on coming while older ones leave (default 60)
#     --rate N      how many a second (default 5000)
#     --keep        leave the servers and their data behind, and say where
#
# Starts private servers and fills a database with the statements that a worker writes (by SQL: through the broker it
# would take hours), runs a worker on it, and prints figures as a Markdown table: time of core.conservation and of
# /metrics, bytes for each batch and row before and after retention, and how fast rows leave. Compare with the limits in
# docs/operations/sizing.md. SOAK_WORKER names a worker that is built already. Exit status: 0 all limits hold, 1 one does not, 2 wrong usage.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

batches=5000000 rows=10000000 seconds=60 rate=5000 keep=no
while [[ $# -gt 0 ]]; do
  case $1 in
    --batches | --rows | --seconds | --rate)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || {
        say "error: $1 needs a number"
        exit 2
      }
      declare "${1#--}=$2"
      shift
      ;;
    --keep) keep=yes ;;
    -h | --help)
      print_help
      exit
      ;;
    *)
      say "error: unknown option $1, see $0 --help"
      exit 2
      ;;
  esac
  shift
done

worker=${SOAK_WORKER:-}
if [[ -z $worker ]]; then
  (cd "$ROOT" && CARGO_TERM_QUIET=true build_programs release worker >&2)
  worker=${CARGO_TARGET_DIR:-$ROOT/target}/release/worker
fi
dir=$(mktemp -d /tmp/acequia-soak-XXXXXX)
worker_pid=
# shellcheck disable=SC2317  # called by the trap
cleanup() {
  [[ -z $worker_pid ]] || kill "$worker_pid" 2>/dev/null || true
  if [[ $keep == yes ]]; then
    say "soak: servers and data are in $dir; end them with: scripts/services.sh stop $dir --wipe"
  else
    scripts/services.sh stop "$dir" --wipe >&2 || true
    rm -rf "$dir"
  fi
}
trap cleanup EXIT
scripts/services.sh start "$dir" --any-port >&2
set -a
# shellcheck disable=SC1091
source "$dir/env"
set +a
"$worker" migrate >&2

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "$1"; }
size() { sql "select pg_database_size(current_database())"; }
# The best of ten in one session, as a worker's is, milliseconds: what the statement costs, not what the machine does beside it.
best_ms() {
  {
    printf '%s\n' '\timing on'
    for _ in 1 2 3 4 5 6 7 8 9 10; do echo "$1;"; done
  } | psql -XAt "$DATABASE_URL" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | sort -n | head -n 1
}
missed=0
row() { # what, figure, limit as an awk condition on v, limit in words
  local mark=ok
  awk -v v="$2" "BEGIN { exit !($3) }" || {
    mark=missed
    missed=1
  }
  printf '| %s | %s | %s | %s |\n' "$1" "$2" "$4" "$mark"
}

domain=$(sql "select domain from core.entities order by position limit 1")
entity=$(sql "select entity from core.entities order by position limit 1")
staging=$(sql "select staging from core.entities order by position limit 1")

say "soak: $batches batches of one message"
before=$(size)
part=100000
for ((done_ = 0; done_ < batches; done_ += part)); do
  n=$((batches - done_ < part ? batches - done_ : part))
  sql "with b as (
         insert into core.batches (batch_id, domain, queue, worker, state, received_at, promoted_at)
         select nextval('core.batch_id'), '$domain', 'acequia.$domain', 'soak', 'promoted', now() - interval '3 hours', now() - interval '3 hours'
         from generate_series(1, $n) returning batch_id
       )
       insert into core.batch_entities (batch_id, domain, entity, received, duplicates, staged, quarantined, oldest_published_at, newest_published_at)
       select batch_id, '$domain', '$entity', 1, 1, 0, 0, now(), now() from b"
  while [[ $(sql "select core.settle('$domain', $part)") != 0 ]]; do :; done
done
batch_bytes=$((($(size) - before) / batches))

say "soak: $rows rows without a day"
columns=$(sql "select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
               where a.attrelid = '$staging'::regclass and a.attnum > 6 and not a.attisdropped")
# A value that each type takes; rows differ by their ids.
values=$(sql "select string_agg(case format_type(a.atttypid, null) when 'integer' then '1' when 'text' then quote_literal('soak')
                when 'date' then 'current_date' when 'timestamp with time zone' then 'now()' when 'boolean' then 'true' else '1' end, ', ' order by a.attnum)
              from pg_attribute a where a.attrelid = '$staging'::regclass and a.attnum > 6 and not a.attisdropped")
stage() { # rows, age
  sql "with b as (
         insert into core.batches (batch_id, domain, queue, worker, state, received_at, promoted_at)
         values (nextval('core.batch_id'), '$domain', 'acequia.$domain', 'soak', 'promoted', now() - interval '$2', now()) returning batch_id
       ), e as (
         insert into core.batch_entities (batch_id, domain, entity, received, duplicates, staged, quarantined)
         select batch_id, '$domain', '$entity', $1, $1, 0, 0 from b
       )
       insert into $staging (message_id, day, batch_id, event_at, ts_ingesta, $columns)
       select gen_random_uuid(), '1970-01-01', b.batch_id, now(), now() - interval '$2', $values from b, generate_series(1, $1)"
}
before=$(size)
for ((done_ = 0; done_ < rows; done_ += part)); do
  stage $((rows - done_ < part ? rows - done_ : part)) '31 days'
done
row_bytes=$((($(size) - before) / rows))
psql -Xq "${ADMIN_DATABASE_URL%/*}/${DATABASE_URL##*/}" -c "vacuum analyze" >&2

conservation=$(best_ms "select * from core.conservation")
new_day=$(best_ms "select core.partition_by_day('$staging', current_date + 100 + (random() * 10000)::int)")
whole=$(size)

say "soak: retention by a worker, while $rate rows a second come for $seconds s"
HTTP_ADDR=${WORKER_URL#http://} DATABASE_URL=$WORKER_DATABASE_URL "$worker" run >"$dir/worker.log" 2>&1 &
worker_pid=$!
"$worker" health --addr "${WORKER_URL#http://}" --wait 120s >&2
begun=$(date +%s.%N)
left_first=$(sql "select count(*) from ${staging}_undated")
for ((second = 0; second < seconds; second++)); do
  stage "$rate" '31 days' &
  sleep 1
  wait $!
done
left_last=$(sql "select count(*) from ${staging}_undated")
ended=$(date +%s.%N)
leaving=$(awk -v a="$left_first" -v b="$left_last" -v n="$((rate * seconds))" -v t="$(awk -v x="$ended" -v y="$begun" 'BEGIN { print x - y }')" \
  'BEGIN { printf "%.0f", (a - b + n) / t }')
scrape=$(for _ in 1 2 3 4 5 6 7 8 9 10; do
  curl -s -o /dev/null -w '%{time_total}\n' "$WORKER_URL/metrics"
  sleep 0.2
done | sort -n | head -n 1 | awk '{ printf "%.1f", $1 * 1000 }')
say "soak: until nothing old is left"
while [[ $(sql "select (select count(*) from ${staging}_undated) + (select count(*) from core.batches)") -gt 300000 ]]; do sleep 1; done
kill "$worker_pid"
wait "$worker_pid" 2>/dev/null || true
worker_pid=
psql -Xq "${ADMIN_DATABASE_URL%/*}/${DATABASE_URL##*/}" -c "vacuum" >&2
after=$(size)
unaccounted=$(sql "select coalesce(sum(abs(unaccounted)), 0) from core.conservation")

echo "| $batches batches of one message, $rows rows without a day | figure | limit | |"
echo "|---|---|---|---|"
row "core.conservation, ms" "$conservation" "v < 5" "< 5"
row "/metrics, ms" "$scrape" "v < 10" "< 10"
row "a new day beside rows without one, ms" "$new_day" "v < 100" "< 100"
row "bytes for a batch" "$batch_bytes" "v < 500" "< 500"
row "bytes for a row, with indexes" "$row_bytes" "v < 500" "< 500"
row "rows that leave in a second" "$leaving" "v > $rate" "> $rate"
row "database before retention, MB" "$((whole / 1000000))" "v > 0" ""
row "after it and a vacuum, MB" "$((after / 1000000))" "v < $((whole / 1000000))" "less"
row "messages unaccounted for" "$unaccounted" "v == 0" "0"
exit "$missed"
