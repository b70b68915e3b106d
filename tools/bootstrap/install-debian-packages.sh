#!/bin/sh
# Runs as root: installs the named Debian packages and starts nothing.
# The packages' own services would listen on every address (nats-server) or make a database cluster (postgresql) that
# Tidemark does not use: each lab site runs its own servers as child processes.
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

POLICY=/usr/sbin/policy-rc.d
CREATECLUSTER=/etc/postgresql-common/createcluster.conf
made_policy=no

cleanup() { [ "$made_policy" = no ] || rm -f "$POLICY"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ ! -e "$POLICY" ]; then
  made_policy=yes
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
fi

# Only for a machine that has no PostgreSQL yet: an existing installation keeps its settings.
case " $* " in
*" postgresql "*)
  if ! dpkg -s postgresql-common >/dev/null 2>&1 && [ ! -e "$CREATECLUSTER" ]; then
    mkdir -p "${CREATECLUSTER%/*}"
    echo 'create_main_cluster = false' >"$CREATECLUSTER"
  fi
  ;;
esac

install() {
  apt-get install -y -q --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" </dev/null
}

# The package lists are fetched only when there are none, or when they no longer match the mirror.
if ! apt-get install -q --simulate --no-install-recommends "$@" >/dev/null 2>&1; then
  apt-get update -q -o DPkg::Lock::Timeout=300 || exit 1
fi
if ! install "$@"; then
  apt-get update -q -o DPkg::Lock::Timeout=300 && install "$@" || exit 1
fi

case " $* " in
*" nats-server "*)
  if [ -d /run/systemd/system ]; then systemctl disable --now nats-server.service 2>/dev/null || true; fi
  ;;
esac
exit 0
