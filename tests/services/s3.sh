#!/usr/bin/env bash
# A real S3 server without a container engine: Moto, in a Python environment of its own.
#   s3.sh start DIR   start it with its log in DIR; prints its address, which DIR/endpoint also holds
#   s3.sh stop DIR    stop it; fine if it does not run
# It keeps objects in memory, takes any credentials, and has conditional puts (If-None-Match).
# Everything is fetched once, into EPOCHFLOW_CACHE (default: target/services of this repository).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=5.2.5
start_seconds=60
stop_seconds=10

source "$here/lib.sh"

fetch() { # INTO
  command -v python3 >/dev/null || fail "python3 not found: install Python, 3.10 or newer"
  python3 -c 'import ensurepip, venv' 2>/dev/null || fail "python3 has no venv: install it (Debian: python3-venv)"
  echo "s3.sh: fetching Moto $version (once)" >&2
  python3 -m venv "$1" >&2 || return 1
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check "moto[server]==$version" >&2
}

install() {
  mkdir -p "${EPOCHFLOW_CACHE:-$here/../../target/services}"
  local cache part
  cache=$(cd "${EPOCHFLOW_CACHE:-$here/../../target/services}" && pwd)
  environment=$cache/moto-$version
  [[ ! -d $environment ]] || return 0
  # Renamed when complete, so that a broken download never looks like a cache.
  part=$(mktemp -d "$cache/fetching.XXXXXX")
  if ! fetch "$part"; then
    rm -rf "$part"
    fail "Moto could not be fetched"
  fi
  mv -T "$part" "$environment" 2>/dev/null || rm -rf "$part" # another start was quicker
}

# The process of DIR/pid, if it is still the server that was started there.
running() {
  [[ -f $dir/pid && -f $dir/port ]] &&
    [[ $(ps -ww -p "$(<"$dir/pid")" -o args= 2>/dev/null) == *"moto.server"*" -p $(<"$dir/port")"* ]]
}

start() {
  mkdir -p "$1"
  dir=$(cd "$1" && pwd)
  log=$dir/server.log
  ! running || fail "a server already runs in $dir"
  install

  local port
  port=$(free_port)
  echo "$port" >"$dir/port"
  # Through Python, since a script's first line holds the path where it was installed, before it was renamed.
  nohup "$environment/bin/python" -c 'import sys; from moto.server import main; main(sys.argv[1:])' \
    -H 127.0.0.1 -p "$port" >"$log" 2>&1 </dev/null &
  echo $! >"$dir/pid"

  await server "$start_seconds" port_is_open "$port"
  echo "http://127.0.0.1:$port" | tee "$dir/endpoint"
}

stop() {
  dir=$(cd "$1" 2>/dev/null && pwd) || return 0
  stop_process
  rm -f "$dir/port" "$dir/endpoint"
}

case ${1:-}:$# in
  start:2 | stop:2) "$1" "$2" ;;
  *) fail "usage: s3.sh start DIR | s3.sh stop DIR" ;;
esac
