#!/usr/bin/env bash
# Builds the console, verifies its committed files against the sources, and tests it in a real browser.
#
# console.sh build
#     Installs the packages that console/package-lock.json names, makes the types of the API from api/openapi.json, checks
#     types, and writes console/dist.
# console.sh packages
#     Installs the packages, and nothing else.
# console.sh check
#     Proves that types and console/dist match the sources: builds twice, in two folders, and compares every byte
#     of both with what is committed.
# console.sh test
#     Starts PostgreSQL, RabbitMQ, a worker and the API on free ports, sends demo data, and walks the console in Chromium:
#     the story of a person, every page in two languages, themes and widths with axe, the keyboard.
#     Needs worker, publisher and api in PROGRAMS (target/debug) and a Chromium in CHROMIUM (/usr/bin/chromium).
#     CONSOLE_PICTURES=DIR keeps a picture of each page there.
#
# Needs Node 20 or newer. Nothing else in the project does: the built files are committed and compiled into the API.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

need_node() {
  local major
  major=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')
  [[ -n $major && $major -ge 20 ]] || die "Node 20 or newer is needed, found: ${major:-none}" "get it with: apt-get install nodejs npm"
}

packages() { (cd "$1" && npm ci --no-audit --no-fund --silent); }

build() {
  packages console
  (cd console && npm run --silent api && npm run --silent check && npm run --silent build)
}

check() {
  local work one two
  work=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  one=$work/one two=$work/a-folder-of-another-name
  for folder in "$one" "$two"; do
    mkdir -p "$folder/api"
    cp api/openapi.json "$folder/api/"
    git ls-files -z console | grep -zv '^console/dist/' | xargs -0 cp --parents -t "$folder"
    packages "$folder/console"
    (cd "$folder/console" && npm run --silent api && npm run --silent check && npm run --silent build >/dev/null)
  done
  diff -r "$one/console/dist" "$two/console/dist" || die "two builds of the same sources differ"
  diff -r "$one/console/dist" console/dist || die "console/dist is not what the sources make: run scripts/console.sh build and commit it"
  diff "$one/console/src/api/schema.d.ts" console/src/api/schema.d.ts ||
    die "the types are not those of api/openapi.json: run scripts/console.sh build and commit them"
  local size
  size=$(find console/dist -type f -exec gzip -9 -c {} + | wc -c)
  ((size < 150000)) || die "the console takes $size bytes compressed; 150000 are allowed"
  echo "console: two builds are identical to what is committed; $size bytes compressed"
}

test_in_browser() {
  local programs=${PROGRAMS:-${CARGO_TARGET_DIR:-$ROOT/target}/debug} program work
  for program in worker publisher api; do
    [[ -x $programs/$program ]] ||
      die "$programs/$program is missing" "make it with: cargo build --locked --workspace --bin worker --bin publisher --bin api"
  done
  [[ -d console/node_modules/playwright-core ]] || packages console
  work=$(mktemp -d)
  pids=()
  # shellcheck disable=SC2064
  trap "end_test '$work'" EXIT
  scripts/services.sh start "$work/servers" --any-port
  set -a
  # shellcheck disable=SC1091
  source "$work/servers/env"
  set +a
  "$programs/worker" migrate
  DATABASE_URL=$WORKER_DATABASE_URL "$programs/worker" run --http-addr "${WORKER_URL#http://}" >"$work/worker.log" 2>&1 &
  pids+=($!)
  "$programs/api" serve --http-addr "${API_URL#http://}" >"$work/api.log" 2>&1 &
  pids+=($!)
  wait_for "$WORKER_URL/readyz" "$work/worker.log"
  wait_for "$API_URL/readyz" "$work/api.log"
  "$programs/publisher" generate academico --alumnos 300 --inscripciones 900 --calificaciones 1500 --seed 1 --invalid 2 --duplicates 1
  # A month that is over, to archive.
  "$programs/publisher" generate consumo --clients 2 --days 40 --start 45d --seed 1
  CONSOLE_URL=$API_URL
  CONSOLE_ADMIN_PASSWORD=$("$programs/api" user add admin --role admin)
  CONSOLE_VIEWER_PASSWORD=$("$programs/api" user add viewer --role viewer)
  CONSOLE_TOKEN=$("$programs/api" token create --name console-test --role admin)
  export CONSOLE_URL CONSOLE_ADMIN_PASSWORD CONSOLE_VIEWER_PASSWORD CONSOLE_TOKEN
  node --test-reporter=spec --test-timeout 300000 console/tests/run.mjs
}

# wait_for URL LOG
wait_for() {
  local tries
  have curl || die "curl is missing" "get it with: apt-get install curl"
  for ((tries = 0; tries < 120; tries++)); do
    if curl --silent --fail --output /dev/null "$1"; then return; fi
    sleep 0.5
  done
  tail -n 20 "$2" >&2
  die "$1 does not answer"
}

end_test() {
  kill "${pids[@]}" 2>/dev/null || true
  wait "${pids[@]}" 2>/dev/null || true
  scripts/services.sh stop "$1/servers" --wipe || true
  rm -rf "$1"
}

case ${1:-} in
build) need_node && build ;;
packages) need_node && packages console ;;
check) need_node && check ;;
test) need_node && test_in_browser ;;
*)
  print_help
  exit 2
  ;;
esac
