#!/usr/bin/env bash
# A real Apache Spark with its Kafka connector, in a Python environment of its own.
#   spark.sh install     fetch it; prints the Python to run it with
# Everything is fetched once, into EPOCHFLOW_CACHE (default: target/services of this repository).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=4.1.2
# The connector, and what it needs that PySpark does not bring. Each without its dependencies: not all of them resolve.
connector=(
  org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.2
  org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.1.1
  org.apache.kafka:kafka-clients:3.9.1
  org.apache.commons:commons-pool2:2.12.0
)

source "$here/lib.sh"

check_python() {
  command -v python3 >/dev/null || fail "python3 not found: install Python, 3.10 or newer"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "python3 is $(python3 -V): Spark needs 3.10 or newer"
  check_venv
}

needs() {
  command -v mvn >/dev/null || fail "mvn not found: install Apache Maven, which fetches Spark's Kafka connector"
}

fetch() { # INTO
  echo "spark.sh: fetching Apache Spark $version (500 MB, once)" >&2
  python3 -m venv "$1" >&2 || return 1
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check "pyspark==$version" >&2 || return 1
  local jar
  for jar in "${connector[@]}"; do
    mvn -q -B -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
      -Dartifact="$jar" -DoutputDirectory="$1/connector" >&2 || return 1
  done
}

install() {
  check_java Spark
  check_python
  local environment
  environment=$(fetched "spark-$version" Spark)
  echo "$environment/bin/python"
}

case ${1:-}:$# in
  install:1) install ;;
  *) fail "usage: spark.sh install" ;;
esac
