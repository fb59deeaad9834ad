# What the services' scripts share; sourced by them. A script sets `stop_seconds`, and while it works `dir` and `log`; it
# defines `running`: whether the process of DIR/pid is still the one that was started there.

me=$(basename "$0")

fail() {
  echo "$me: $*" >&2
  exit 1
}

check_java() { # WHO
  command -v java >/dev/null || fail "java not found: install a JDK, 17 or newer"
  local major
  major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
  [[ ${major:-0} -ge 17 ]] || fail "java is version ${major:-unknown}: $1 needs 17 or newer"
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

# Waits for a condition of the process that was just started.
await() { # WHAT SECONDS CONDITION…
  local what=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@"; do
    kill -0 "$(<"$dir/pid")" 2>/dev/null || give_up "the $what ended while starting"
    [[ $SECONDS -lt $deadline ]] || give_up "the $what did not answer in time"
    sleep 0.1
  done
}

give_up() {
  echo "$me: the end of $log:" >&2
  tail -n 30 "$log" >&2
  stop_process
  fail "$*"
}

stop_process() {
  local pid deadline=$((SECONDS + stop_seconds))
  if running; then
    pid=$(<"$dir/pid")
    kill "$pid" 2>/dev/null || true
    while running && [[ $SECONDS -lt $deadline ]]; do sleep 0.1; done
    ! running || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$dir/pid"
}
