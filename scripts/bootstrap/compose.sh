# shellcheck shell=bash
# Containers of docker-compose.yml. Sourced by scripts/bootstrap.sh.
# shellcheck disable=SC2034,SC2154  # variables of bootstrap.sh

compose_up() {
  cd "$ROOT" || exit
  local project
  # An attestation has the time in it: the same program would be another image, and its containers would be made anew.
  export BUILDX_NO_DEFAULT_ATTESTATIONS=1
  project=$(basename "$ROOT" | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9_-')
  project=${COMPOSE_PROJECT_NAME:-$project}
  if docker volume inspect "${project}_postgres-data" >/dev/null 2>&1 && ! docker volume inspect "${project}_postgres" >/dev/null 2>&1; then
    die "the data of this installation are in volume ${project}_postgres-data, for an older docker-compose.yml" \
      "take them over as docs/operations/upgrade.md says, or give them up: docker volume rm ${project}_postgres-data"
  fi
  step "containers" compose_start
  step "worker" compose_wait
}

compose_start() { "${compose[@]}" up -d --build || fail "docker compose did not start everything"; }

compose_wait() {
  local i
  for ((i = 0; i < 120; i++)); do
    compose_worker_command health >/dev/null 2>&1 && result=ready && return
    sleep 1
  done
  fail "the worker is not ready"
}

compose_api_command() { "${compose[@]}" exec -T api api "$@" </dev/null; }
compose_worker_command() { "${compose[@]}" exec -T worker worker "$@" </dev/null; }
compose_publisher() { "${compose[@]}" run --rm -T publisher "$@" </dev/null; }
compose_psql() {
  "${compose[@]}" exec -T postgres psql --no-psqlrc --quiet --pset pager=off --pset footer=off --set ON_ERROR_STOP=1 \
    --username "${POSTGRES_USER:-app}" --dbname "${POSTGRES_DB:-payments}" "$@"
}
compose_log() { "${compose[@]}" logs --tail 30 migrate worker postgres rabbitmq; }

# compose_address SERVICE PORT: prints the address under which that port of the service can be reached.
compose_address() { "${compose[@]}" port "$1" "$2" 2>/dev/null | head -n 1; }
