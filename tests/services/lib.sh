# What the services' scripts share; sourced by them. A script sets `here`; one that starts a process sets `stop_seconds`, and while it works `dir` and `log`; it
# defines `running`: whether the process of DIR/pid is still the one that was started there.

me=$(basename "$0")

fail() {
  echo "$me: $*" >&2
  exit 1
}

# Prints the folder NAME of the cache, which the script's `fetch INTO` fills once. `needs` is asked first whether it can.
fetched() { # NAME WHAT
  mkdir -p "${EPOCHFLOW_CACHE:-$here/../../target/services}"
  local cache part
  cache=$(cd "${EPOCHFLOW_CACHE:-$here/../../target/services}" && pwd)
  if [[ ! -d $cache/$1 ]]; then
    needs
    # Renamed when complete, so that a broken download never looks like a cache.
    part=$(mktemp -d "$cache/fetching.XXXXXX")
    if ! fetch "$part"; then
      rm -rf "$part"
      fail "$2 could not be fetched"
    fi
    mv -T "$part" "$cache/$1" 2>/dev/null || rm -rf "$part" # another start was quicker
  fi
  echo "$cache/$1"
}

check_venv() {
  python3 -c 'import ensurepip, venv' 2>/dev/null || fail "python3 has no venv: install it (Debian: python3-venv)"
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
