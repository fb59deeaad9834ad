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

fail() {
  echo "s3.sh: $*" >&2
  exit 1
}

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

port_is_open() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range from which the system gives ports to outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    port_is_open "$port" || break
  done
  echo "$port"
}

# The process of DIR/pid, if it is still the server that was started there.
running() {
  [[ -f $dir/pid && -f $dir/port ]] &&
    [[ $(ps -ww -p "$(<"$dir/pid")" -o args= 2>/dev/null) == *"moto.server"*" -p $(<"$dir/port")"* ]]
}

start() {
  mkdir -p "$1"
  dir=$(cd "$1" && pwd)
  ! running || fail "a server already runs in $dir"
  install

  local port
  port=$(free_port)
  echo "$port" >"$dir/port"
  # Through Python, since a script's first line holds the path where it was installed, before it was renamed.
  nohup "$environment/bin/python" -c 'import sys; from moto.server import main; main(sys.argv[1:])' \
    -H 127.0.0.1 -p "$port" >"$dir/server.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"

  local deadline=$((SECONDS + start_seconds))
  until port_is_open "$port"; do
    kill -0 "$(<"$dir/pid")" 2>/dev/null || give_up "the server ended while starting"
    [[ $SECONDS -lt $deadline ]] || give_up "the server did not answer within $start_seconds s"
    sleep 0.1
  done
  echo "http://127.0.0.1:$port" | tee "$dir/endpoint"
}

give_up() {
  echo "s3.sh: the end of $dir/server.log:" >&2
  tail -n 30 "$dir/server.log" >&2
  stop_server
  fail "$*"
}

stop_server() {
  local pid deadline=$((SECONDS + stop_seconds))
  if running; then
    pid=$(<"$dir/pid")
    kill "$pid" 2>/dev/null || true
    while running && [[ $SECONDS -lt $deadline ]]; do sleep 0.1; done
    ! running || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$dir/pid" "$dir/port" "$dir/endpoint"
}

stop() {
  dir=$(cd "$1" 2>/dev/null && pwd) || return 0
  stop_server
}

case ${1:-}:$# in
  start:2 | stop:2) "$1" "$2" ;;
  *) fail "usage: s3.sh start DIR | s3.sh stop DIR" ;;
esac
