#!/usr/bin/env bash
# Servers of another Debian release for the tests, beside those of this machine.
#
# servers.sh SUITE
#     Makes a folder with the PostgreSQL, RabbitMQ and Prometheus of a Debian release (trixie, sid), if it is not there,
#     and prints its path, for SERVERS_ROOT of scripts/services.sh. It starts no servers and does not change this machine.
# servers.sh --remove SUITE
#     Deletes it.
#
# Folders are in ${ACEQUIA_CACHE:-.acequia-servers}, about 1.2 GB each. Packages come from the Debian mirror that apt of this
# machine is configured with. Needs root and debootstrap (apt-get install debootstrap).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PACKAGES=(postgresql rabbitmq-server curl procps prometheus prometheus-postgres-exporter prometheus-alertmanager
  prometheus-node-exporter)

cache=${ACEQUIA_CACHE:-$ROOT/.acequia-servers}
remove=no suite=
for option; do
  case $option in
    --remove) remove=yes ;;
    -h | --help)
      print_help
      exit
      ;;
    -*) die "unknown option $option, see $0 --help" ;;
    *) suite=$option ;;
  esac
done
[[ $suite =~ ^[a-z]+$ ]] || die "which Debian release? See $0 --help"
root=$(realpath -m -- "$cache")/$suite

if [[ $remove == yes ]]; then
  rm -rf --one-file-system "$root" "$root.new"
  exit
fi
if [[ -e $root/etc/acequia-servers ]]; then
  printf '%s\n' "$root"
  exit
fi

[[ $EUID -eq 0 ]] || die "this needs root, to install packages into $root"
have debootstrap || die "debootstrap is missing" "get it with: apt-get install debootstrap"
# shellcheck disable=SC2016  # for apt-get
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
[[ -n $mirror ]] || die "apt knows no mirror of Debian here" "add one to /etc/apt/sources.list.d, then run this again"

say "servers: Debian $suite into $root"
mkdir -p "${root%/*}"
rm -rf --one-file-system "$root.new"
log=$root.log
debootstrap --variant=minbase "$suite" "$root.new" "$mirror" >"$log" 2>&1 ||
  { tail -n 20 "$log" >&2 && die "debootstrap failed, its log is $log"; }
# Services of the packages must not start by themselves.
printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
chmod 755 "$root.new/usr/sbin/policy-rc.d"
mkdir -p "$root.new/etc/postgresql-common/createcluster.d"
echo "create_main_cluster = false" >"$root.new/etc/postgresql-common/createcluster.d/acequia.conf"
# Packages look into /proc. In a mount namespace of its own, so that nothing stays mounted whatever happens.
# shellcheck disable=SC2016  # for the inner shell
unshare --mount --propagation private bash -c 'mount -t proc proc "$1/proc" && shift 1 && exec chroot "$@"' _ \
  "$root.new" "$root.new" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
  apt-get -y -q install --no-install-recommends "${PACKAGES[@]}" </dev/null >>"$log" 2>&1 ||
  { tail -n 20 "$log" >&2 && die "apt-get failed in $root.new, its log is $log"; }
chroot "$root.new" apt-get clean
: >"$root.new/etc/acequia-servers"
mv "$root.new" "$root"
printf '%s\n' "$root"
