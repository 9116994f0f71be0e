# shellcheck shell=bash
# RabbitMQ. Sourced by scripts/services.sh.
# shellcheck disable=SC2154  # options are set by services.sh

# The server tries every folder of its plugins for each of some thousand modules it loads. A view of it that leaves
# out the plugins nobody enabled (of those named rabbitmq_...) starts in 6 s instead of 9 s.
rabbitmq_view() { # INTO
  local server plugin
  server=$(dirname "$(dirname "$(readlink -f "$(rabbitmq_server)")")")
  rm -rf "$1"
  mkdir -p "$1/plugins"
  ln -s "$server/sbin" "$1/sbin"
  ln -s "$server/escript" "$1/escript"
  for plugin in "$server"/plugins/*; do
    case ${plugin##*/} in
      rabbitmq_management-* | rabbitmq_management_agent-* | rabbitmq_web_dispatch-* | rabbitmq_prometheus-* | rabbitmq_prelaunch-*) ;;
      rabbitmq_*) continue ;;
    esac
    ln -s "$plugin" "$1/plugins/"
  done
}

# rabbitmq_listener HOME: the settings of the port for AMQP.
rabbitmq_listener() {
  if [[ -z $tls ]]; then
    echo "listeners.tcp.1 = 127.0.0.1:$AMQP_PORT"
    return
  fi
  (umask 077 && mkdir -p "$1/certs" && cp "$tls"/{ca.pem,server.pem,server.key} "$1/certs/")
  cat <<CONF
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:$AMQP_PORT
ssl_options.cacertfile = $1/certs/ca.pem
ssl_options.certfile = $1/certs/server.pem
ssl_options.keyfile = $1/certs/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = $([[ $client_certificates == yes ]] && echo true || echo false)
CONF
}

# rabbitmq_environment: sets `environment`, by which server and command line find each other.
rabbitmq_environment() {
  local home=$DIR/rabbitmq
  # A port mapper of our own, so that stopping it disturbs nobody.
  environment=(
    "HOME=$home/home"
    "ERL_CRASH_DUMP=$home/log/erl_crash.dump"
    "ERL_EPMD_PORT=$(setting ports EPMD_PORT)"
    "ERL_EPMD_ADDRESS=127.0.0.1"
    "RABBITMQ_NODENAME=acequia-$(id_of_dir)@localhost"
    "RABBITMQ_MNESIA_BASE=$home/data"
    "RABBITMQ_LOG_BASE=$home/log"
    "RABBITMQ_PLUGINS_EXPAND_DIR=$home/plugins-expand"
    "RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins"
    "RABBITMQ_CONF_ENV_FILE=$home/rabbitmq-env.conf"
    "RABBITMQ_CONFIG_FILE=$home/rabbitmq.conf"
    "RABBITMQ_CONFIG_FILES=$home/conf.d"
    "RABBITMQ_ADVANCED_CONFIG_FILE=$home/advanced.config"
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}"
    "RUNNING_UNDER_SYSTEMD=true" # makes its start script become the server instead of waiting beside it
  )
}

start_rabbitmq() {
  local home=$DIR/rabbitmq node i environment
  node=acequia-$(id_of_dir)@localhost
  if ! pid_of "$STATE/rabbitmq" >/dev/null; then
    mkdir -p "$home/data" "$home/log" "$home/home" "$home/conf.d"
    rabbitmq_view "$home/server"
    if [[ ! -s $home/home/.erlang.cookie ]]; then
      (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$home/home/.erlang.cookie")
      chmod 400 "$home/home/.erlang.cookie"
    fi
    cp "$ROOT/config/enabled_plugins" "$home/enabled_plugins"
    cp "$ROOT/config/rabbitmq-env.conf" "$home/rabbitmq-env.conf"
    echo '[].' >"$home/advanced.config"
    (
      umask 077
      cat "$ROOT/config/rabbitmq.conf" - >"$home/rabbitmq.conf" <<CONF

# --- added by services.sh
$(rabbitmq_listener "$home")
management.tcp.ip = 127.0.0.1
management.tcp.port = $RABBITMQ_MANAGEMENT_PORT
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $RABBITMQ_METRICS_PORT
default_user = $RABBITMQ_USER
default_pass = $RABBITMQ_PASSWORD
default_user_tags.administrator = true
CONF
    )
    rabbitmq_environment
    if ! pid_of "$STATE/epmd" >/dev/null; then
      spawn "$STATE/epmd" "$home/log/epmd.log" env -u NOTIFY_SOCKET "${environment[@]}" epmd -port "$EPMD_PORT" -address 127.0.0.1
    fi
    spawn "$STATE/rabbitmq" "$home/log/stdout.log" env -u NOTIFY_SOCKET "${environment[@]}" \
      "RABBITMQ_DIST_PORT=$RABBITMQ_DIST_PORT" "$home/server/sbin/rabbitmq-server"
  fi
  for ((i = 0; i < 600; i++)); do
    if rabbitmq_answers; then
      rabbitmq_get /api/health/checks/local-alarms >/dev/null 2>&1 ||
        say "warning: RabbitMQ has raised an alarm (too little free disk or memory): it blocks publishers"
      return
    fi
    pid_of "$STATE/rabbitmq" >/dev/null || break
    sleep 0.1
  done
  cat "$home/log/stdout.log" "$home/log/$node.log" 2>/dev/null | tail -n 30 >&2
  die "RabbitMQ did not start, its logs are in $home/log"
}

rabbitmq_get() {
  curl -sS -f -m 5 -K - "http://127.0.0.1:$RABBITMQ_MANAGEMENT_PORT$1" <<<"user = \"$RABBITMQ_USER:$RABBITMQ_PASSWORD\""
}

# An AMQP 0-9-1 greeting is answered by a frame of type 1; the pages come up a little before or after that.
rabbitmq_greets() {
  [[ -z $tls ]] || return 0 # the shell does not speak TLS
  # shellcheck disable=SC2016  # for the inner shell
  timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "AMQP\0\0\x09\x01" >&3 &&
      IFS= read -r -N 1 -t 4 type <&3 && [[ $type == $'"'\\x01'"' ]]' _ "$AMQP_PORT" 2>/dev/null
}

rabbitmq_answers() {
  port_open "$AMQP_PORT" && port_open "$RABBITMQ_MANAGEMENT_PORT" && port_open "$RABBITMQ_METRICS_PORT" &&
    rabbitmq_greets && rabbitmq_get /api/whoami >/dev/null 2>&1
}

stop_rabbitmq() {
  end_process "$STATE/rabbitmq" "$([[ $wipe == yes ]] && echo KILL || echo TERM)" 60
  end_process "$STATE/epmd" TERM 5
}
