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

needs() {
  command -v python3 >/dev/null || fail "python3 not found: install Python, 3.10 or newer"
  check_venv
}

fetch() { # INTO
  echo "s3.sh: fetching Moto $version (once)" >&2
  python3 -m venv "$1" >&2 || return 1
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check "moto[server]==$version" >&2
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
  local environment port
  environment=$(fetched "moto-$version" Moto)
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
