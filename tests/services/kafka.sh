#!/usr/bin/env bash
# A real one-node Kafka broker, without a container engine.
#   kafka.sh start DIR [PROPERTIES] [--sasl]
#                        start it with its data in DIR; prints its address, which DIR/bootstrap also holds
#   kafka.sh stop DIR    stop it; fine if it does not run
# A broker that is started again in its DIR has its old address. PROPERTIES is a file of settings that win over the
# ones here; @PORT@ and @CONTROLLER@ in it stand for the ports.
# --sasl: it also listens with SASL_SSL at the address in DIR/bootstrap-sasl, for the user alice with the password
# alice-secret by SCRAM-SHA-512 or PLAIN. DIR/ca.pem is its certificate, DIR/ca.jks the same as a Java trust store with
# the password changeit.
# The jars are fetched once, into EPOCHFLOW_CACHE (default: target/services of this repository).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
start_seconds=60
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
  cat >"$dir/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# A deleted topic gives its disk space back at once, not after a minute.
log.segment.delete.delay.ms=1000
END
}

start() {
  check_java Kafka
  mkdir -p "$1"
  dir=$(cd "$1" && pwd)
  log=$dir/broker.log
  shift
  ! running || fail "a broker already runs in $dir"
  local libs
  libs=$(fetched kafka-4.3.1 Kafka)

  local port controller sasl
  if [[ -f $dir/ports ]]; then
    read -r port controller sasl <"$dir/ports"
  else
    port=$(free_port)
    controller=$(free_port)
    sasl=$(free_port)
    while [[ $controller == "$port" ]]; do controller=$(free_port); done
    while [[ $sasl == "$port" || $sasl == "$controller" ]]; do sasl=$(free_port); done
    echo "$port $controller $sasl" >"$dir/ports"
  fi
  configure "$port" "$controller"
  local format=()
  if [[ ${*: -1} == --sasl ]]; then
    configure_sasl "$sasl"
    format=(--add-scram 'SCRAM-SHA-512=[name=alice,password=alice-secret]')
  fi
  [[ ! -f ${1:-} ]] || sed -e "s/@PORT@/$port/g" -e "s/@CONTROLLER@/$controller/g" "$1" >>"$dir/server.properties"
  local java=(java -Xms256m -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*")
  # The cluster's name never leaves this machine, so any 16 bytes in base64 will do.
  "${java[@]}" kafka.tools.StorageTool format --ignore-formatted -t ZXBvY2hmbG93LXRlc3RzMQ "${format[@]}" \
    -c "$dir/server.properties" >"$log" 2>&1 || give_up "its storage could not be formatted"
  nohup "${java[@]}" kafka.Kafka "$dir/server.properties" >>"$log" 2>&1 </dev/null &
  echo $! >"$dir/pid"

  await broker "$start_seconds" broker_answers "$port"
  echo "127.0.0.1:$port" | tee "$dir/bootstrap"
}

stop() {
  dir=$(cd "$1" 2>/dev/null && pwd) || return 0
  stop_process
  rm -f "$dir/bootstrap" "$dir/bootstrap-sasl"
}

case ${1:-}:$# in
  start:[234] | stop:2) "$@" ;;
  *) fail "usage: kafka.sh start DIR [PROPERTIES] [--sasl] | kafka.sh stop DIR" ;;
esac
