# shellcheck shell=bash
# Private servers and programs on this machine. Sourced by scripts/bootstrap.sh.
# shellcheck disable=SC2034,SC2154  # variables of bootstrap.sh

native_up() {
  have cargo || die "the Rust toolchain is missing (cargo)" "get it from https://rustup.rs, then run this again"
  have cc || die "a C compiler is missing (cc), one dependency needs it" "get it with: apt-get install gcc libc6-dev"
  step "packages" "$ROOT/scripts/services.sh" install --observability
  step "servers" native_servers
  step "programs" native_build
  step "schema" native_migrate
  step "worker" native_worker
  step "api" native_api
}

native_servers() {
  "$ROOT/scripts/services.sh" start "$RUN_DIR" --observability
  local line
  while IFS= read -r line; do declare -g "${line?}"; done <"$RUN_DIR/env"
  result="PostgreSQL, RabbitMQ, Prometheus${GRAFANA_URL:+, Grafana}"
}

# Minutes on a small machine, the first time: the number of crates that are done shows that it goes on.
native_build() {
  local pid made status=0 width=0 profile=dev
  bin=${CARGO_TARGET_DIR:-$ROOT/target}/debug
  [[ $release == no ]] || profile=release bin=${bin%/*}/release
  (cd "$ROOT" && build_programs "$profile" worker publisher api) &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [[ $verbose == no && -t 3 ]]; then
      made=$(sed -n '/^--- programs/,$p' "$LOG" | grep -c '^ *Compiling' || true)
      ((made == 0)) || width=$(printf 'compiled %d crates, the last ones take longest' "$made" | tee /dev/fd/3 | wc -m)
    fi
    sleep 1
    printf '%*s' "$width" '' | tr ' ' '\b' >&3
  done
  wait "$pid" || status=$?
  printf '%*s' "$width" '' >&3 && printf '%*s' "$width" '' | tr ' ' '\b' >&3
  [[ $status -eq 0 ]] || die "the programs could not be built"
  if [[ $release == yes ]]; then result="built (optimised)"; else result="built (development; optimised: --release)"; fi
}

native_migrate() {
  DATABASE_URL=$DATABASE_URL ACEQUIA_WORKER_PASSWORD=$ACEQUIA_WORKER_PASSWORD \
    ACEQUIA_ARCHIVE_PASSWORD=$ACEQUIA_ARCHIVE_PASSWORD ACEQUIA_OPERATOR_PASSWORD=$ACEQUIA_OPERATOR_PASSWORD \
    ACEQUIA_API_PASSWORD=$ACEQUIA_API_PASSWORD ACEQUIA_ANALYST_PASSWORD=$ACEQUIA_ANALYST_PASSWORD "$bin/worker" migrate
}

native_worker() {
  # Of every program that archives.
  archive_env=("ARCHIVE_DATABASE_URL=$ARCHIVE_DATABASE_URL" "ARCHIVE_URL=${ARCHIVE_URL:-file://$RUN_DIR/archive}")
  worker_env=("DATABASE_URL=$WORKER_DATABASE_URL" "AMQP_URL=$AMQP_URL" "HTTP_ADDR=${WORKER_URL#http://}"
    "${archive_env[@]}" "ARCHIVE_SCHEDULE=${ARCHIVE_SCHEDULE:-}")
  native_program worker run "$WORKER_URL" "${worker_env[@]}"
}

native_api() {
  api_env=("API_DATABASE_URL=$API_DATABASE_URL" "OPERATOR_DATABASE_URL=$OPERATOR_DATABASE_URL" "AMQP_URL=$AMQP_URL"
    "${archive_env[@]}" "API_HTTP_ADDR=${API_URL#http://}")
  native_program api serve "$API_URL" "${api_env[@]}"
}

# native_program NAME COMMAND URL NAME=VALUE...: starts a program and waits until it is ready. One that runs is kept, unless its
# program or its addresses changed.
native_program() {
  local name=$1 command=$2 url=$3 now i
  shift 3
  now=$(cat "$bin/$name" "$RUN_DIR/env" | sha256sum | cut -d ' ' -f 1)
  if pid_of "$RUN_DIR/$name" >/dev/null && [[ $(value_of "$RUN_DIR/mode" "${name^^}") != "$now" ]]; then
    say "restarting the $name, it changed"
    end_process "$RUN_DIR/$name" TERM 60
  fi
  if ! pid_of "$RUN_DIR/$name" >/dev/null; then
    spawn "$RUN_DIR/$name" "$RUN_DIR/$name.log" env "$@" "LOG_FORMAT=${LOG_FORMAT:-json}" "$bin/$name" "$command"
    set_value "$RUN_DIR/mode" "${name^^}" "$now"
  fi
  say "waiting for the $name"
  for ((i = 0; i < 300; i++)); do
    curl -sS -f -m 5 -o /dev/null "$url/readyz" 2>/dev/null && result=ready && return
    pid_of "$RUN_DIR/$name" >/dev/null || { tail -n 30 "$RUN_DIR/$name.log" >&2 && die "the $name stopped"; }
    sleep 0.2
  done
  tail -n 30 "$RUN_DIR/$name.log" >&2
  die "the $name is not ready: $(curl -sS -m 5 "$url/readyz" 2>&1 || true)"
}

native_api_command() { env "${api_env[@]}" "$bin/api" "$@"; }
native_worker_command() { env "${worker_env[@]}" "$bin/worker" "$@"; }
native_publisher() { AMQP_URL=$AMQP_URL "$bin/publisher" "$@"; }
native_psql() { psql --no-psqlrc --quiet --pset pager=off --pset footer=off --set ON_ERROR_STOP=1 --dbname "$DATABASE_URL" "$@"; }
native_log() { tail -n 30 "$RUN_DIR/worker.log"; }
