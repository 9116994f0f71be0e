#!/usr/bin/env bash
# Stops what scripts/bootstrap.sh started, and nothing else.
#
# down.sh [--wipe]
#     --wipe also deletes the data: queues, database, metrics, archives.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RUN_DIR=$ROOT/.acequia
wipe=()

case ${1:-} in
  "") ;;
  --wipe) wipe=(--wipe) ;;
  -h | --help)
    print_help
    exit
    ;;
  *) die "unknown option $1, see $0 --help" ;;
esac

# LAST: it was stopped, but its data may still be there.
mode=$(value_of "$RUN_DIR/mode" MODE)
mode=${mode:-$(value_of "$RUN_DIR/mode" LAST)}
case $mode in
  native)
    # The worker first: it finishes its batch while the servers are still there.
    end_process "$RUN_DIR/api" TERM 30
    end_process "$RUN_DIR/worker" TERM 60
    "$ROOT/scripts/services.sh" stop "$RUN_DIR" ${wipe[@]+"${wipe[@]}"}
    ;;
  compose)
    cd "$ROOT"
    if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
    "${compose[@]}" --profile demo down ${wipe[@]+--volumes}
    ;;
  *)
    say "nothing to stop: scripts/bootstrap.sh has not run here"
    exit
    ;;
esac

if [[ ${#wipe[@]} -gt 0 ]]; then
  rm -f "$RUN_DIR"/mode "$RUN_DIR"/worker.* "$RUN_DIR"/api.*
  rm -rf "$RUN_DIR/archive"
  rmdir "$RUN_DIR" 2>/dev/null || true
else
  set_value "$RUN_DIR/mode" MODE ""
  set_value "$RUN_DIR/mode" LAST "$mode"
fi
