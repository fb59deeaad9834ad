#!/usr/bin/env bash
# A real Kafka broker, or several, without a container engine.
#   kafka.sh start DIR [PROPERTIES] [--sasl] [--brokers N] [--while PID]
#                        start it with its data in DIR; prints its address, which DIR/bootstrap also holds
#   kafka.sh stop DIR    stop it; fine if it does not run
# --brokers: N of them, with small heaps, which are one cluster. They are in DIR/1 to DIR/N, and each may be stopped and
# started again there. What is theirs has three replicas, of which two must be there.
# --while: when the process PID is gone all is stopped, and DIR is deleted.
# A broker that is started again in its DIR has its old address. PROPERTIES is a file of settings that win over the
# ones here; @PORT@ and @CONTROLLER@ in it stand for the ports.
# --sasl: it also listens with SASL_SSL at the address in DIR/bootstrap-sasl, for the user alice with the password
# alice-secret by SCRAM-SHA-512 or PLAIN. DIR/ca.pem is its certificate, DIR/ca.jks the same as a Java trust store with
# the password changeit.
# The jars are fetched once, into EPOCHFLOW_CACHE (default: target/services of this repository).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
start_seconds=180
stop_seconds=20

source "$here/lib.sh"

needs() {
  command -v mvn >/dev/null || fail "mvn not found: install Apache Maven, which fetches Kafka"
}

fetch() { # INTO
  echo "kafka.sh: fetching Apache Kafka 4.3.1 (126 MB, once)" >&2
  mvn -q -B -Dstyle.color=never -f "$here/kafka.pom.xml" dependency:copy-dependencies -DoutputDirectory="$1" >&2
}

# Asks with a Metadata request (key 3, version 1, no topics): an answer that lists our broker is the sign that it
# takes requests. The port alone is open seconds before.
broker_answers() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf '\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\0\0\0\0' >&3
    brokers=$(timeout 5 head -c 12 <&3 | od -An -v -tu1 -j 11)
    [[ ${brokers:-0} -ge 1 ]]
  ) 2>/dev/null
}

# The process of DIR/pid, if it is still the broker that was started there.
running() {
  [[ -f $dir/pid ]] && [[ $(ps -ww -p "$(<"$dir/pid")" -o args= 2>/dev/null) == *"$dir/server.properties"* ]]
}

# A certificate of its own for 127.0.0.1, and the settings of a listener that shows it.
configure_sasl() { # PORT
  local keytool=(keytool -noprompt -storepass changeit)
  rm -f "$dir/broker.p12" "$dir/ca.jks"
  "${keytool[@]}" -genkeypair -alias broker -keyalg RSA -validity 30 -dname CN=127.0.0.1 -ext SAN=ip:127.0.0.1 \
    -storetype PKCS12 -keystore "$dir/broker.p12" 2>/dev/null
  "${keytool[@]}" -exportcert -rfc -alias broker -keystore "$dir/broker.p12" >"$dir/ca.pem" 2>/dev/null
  "${keytool[@]}" -importcert -alias ca -file "$dir/ca.pem" -storetype JKS -keystore "$dir/ca.jks" 2>/dev/null
  sed -i -e "s/^listeners=.*/&,SASL_SSL:\/\/127.0.0.1:$1/" -e "s/^advertised.listeners=.*/&,SASL_SSL:\/\/127.0.0.1:$1/" \
    -e 's/^listener.security.protocol.map=.*/&,SASL_SSL:SASL_SSL/' "$dir/server.properties"
  local jaas=org.apache.kafka.common.security
  cat >>"$dir/server.properties" <<END
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$jaas.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=$jaas.plain.PlainLoginModule required user_alice="alice-secret";
ssl.keystore.type=PKCS12
ssl.keystore.location=$dir/broker.p12
ssl.keystore.password=changeit
END
  echo "127.0.0.1:$1" >"$dir/bootstrap-sasl"
}

configure() { # PORT CONTROLLER_PORT
  local id=1 voters=1@127.0.0.1:$2 brokers=1
  [[ ! -f $dir/member ]] || read -r id voters brokers <"$dir/member"
  local replicas=$((brokers < 3 ? brokers : 3))
  cat >"$dir/server.properties" <<END
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=$replicas
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$((replicas < 2 ? replicas : 2))
group.initial.rebalance.delay.ms=0
# A deleted topic gives its disk space back at once, not after a minute.
log.segment.delete.delay.ms=1000
END
  [[ $brokers -eq 1 ]] || cat >>"$dir/server.properties" <<END
min.insync.replicas=2
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3
# A broker that is killed is missed soon.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
END
}

# Chooses ports once, so that a broker that is started again has its old address. Sets port, controller and sasl.
choose_ports() {
  if [[ ! -f $dir/ports ]]; then
    local taken=" ${1:-} " chosen=() next
    while [[ ${#chosen[@]} -lt 3 ]]; do
      next=$(free_port)
      [[ $taken == *" $next "* ]] || chosen+=("$next")
      taken+="$next "
    done
    echo "${chosen[*]}" >"$dir/ports"
  fi
  read -r port controller sasl <"$dir/ports"
}

# Starts the process, and does not wait until it answers.
launch() { # PROPERTIES SASL
  ! running || fail "a broker already runs in $dir"
  local port controller sasl format=() heap=(-Xms256m -Xmx512m)
  choose_ports
  log=$dir/broker.log
  configure "$port" "$controller"
  if [[ $2 == yes ]]; then
    configure_sasl "$sasl"
    format=(--add-scram 'SCRAM-SHA-512=[name=alice,password=alice-secret]')
  fi
  [[ ! -f $1 ]] || sed -e "s/@PORT@/$port/g" -e "s/@CONTROLLER@/$controller/g" "$1" >>"$dir/server.properties"
  [[ ! -f $dir/member ]] || heap=(-Xms64m -Xmx256m)
  local java=(java "${heap[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*")
  # The cluster's name never leaves this machine, so any 16 bytes in base64 will do.
  "${java[@]}" kafka.tools.StorageTool format --ignore-formatted -t ZXBvY2hmbG93LXRlc3RzMQ "${format[@]}" \
    -c "$dir/server.properties" >"$log" 2>&1 || give_up "its storage could not be formatted"
  nohup "${java[@]}" kafka.Kafka "$dir/server.properties" >>"$log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}

# Waits until the broker that was launched answers.
await_answer() {
  local port controller sasl
  choose_ports
  log=$dir/broker.log
  await broker "$start_seconds" broker_answers "$port"
  echo "127.0.0.1:$port" >"$dir/bootstrap"
}

# Says who belongs to the cluster: all must know before the first one starts.
found_cluster() { # ROOT BROKERS
  local port controller sasl taken= voters=() id
  for ((id = 1; id <= $2; id++)); do
    dir=$1/$id
    mkdir -p "$dir"
    choose_ports "$taken"
    taken+="$port $controller $sasl "
    voters+=("$id@127.0.0.1:$controller")
  done
  local all
  all=$(IFS=,; echo "${voters[*]}")
  for ((id = 1; id <= $2; id++)); do echo "$id $all $2" >"$1/$id/member"; done
}

start() {
  check_java Kafka
  mkdir -p "$1"
  local root properties= sasl=no brokers=1 owner= members=()
  root=$(cd "$1" && pwd)
  shift
  while [[ $# -gt 0 ]]; do
    case $1 in
      --sasl) sasl=yes ;;
      --brokers) brokers=$2 && shift ;;
      --while) owner=$2 && shift ;;
      *) properties=$1 ;;
    esac
    shift
  done
  libs=$(fetched kafka-4.3.1 Kafka)
  if [[ -n $owner ]]; then
    local watch='while kill -0 "$1" 2>/dev/null; do sleep 1; done; "$2" stop "$3"; rm -rf "$3"'
    nohup bash -c "$watch" watch "$owner" "$here/kafka.sh" "$root" >/dev/null 2>&1 </dev/null &
  fi
  members=("$root")
  if [[ $brokers -gt 1 ]]; then
    found_cluster "$root" "$brokers"
    members=("$root"/[0-9]*)
  fi
  for dir in "${members[@]}"; do launch "$properties" "$sasl"; done
  for dir in "${members[@]}"; do await_answer; done
  [[ $brokers -eq 1 ]] || cat "$root"/[0-9]*/bootstrap | paste -sd, >"$root/bootstrap"
  cat "$root/bootstrap"
}

stop() {
  local root members
  root=$(cd "$1" 2>/dev/null && pwd) || return 0
  members=("$root")
  [[ ! -f $root/1/member ]] || members=("$root"/[0-9]*)
  for dir in "${members[@]}"; do
    rm -f "$dir/bootstrap" "$dir/bootstrap-sasl"
    # Side by side: the last of a cluster would wait for the others.
    stop_process &
  done
  wait
  rm -f "$root/bootstrap"
}

case ${1:-}:$# in
  start:[2-9] | stop:2) "$@" ;;
  *) fail "usage: kafka.sh start DIR [PROPERTIES] [--sasl] [--brokers N] [--while PID] | kafka.sh stop DIR" ;;
esac
