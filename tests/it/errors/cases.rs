//! The tables of [`super`].

use epochflow::ErrorKind::{self, Checkpoint, Environment, Query, Transient, Usage};

type Words = &'static [&'static str];
/// Names and contents.
type Files = &'static [(&'static str, &'static str)];

/// A pipeline from table `events` into table `rows` with these options.
pub(super) fn pipeline(source: &str, sink: &str, select: &str) -> String {
    let options =
        |options: &str| if options.is_empty() { String::new() } else { format!(" OPTIONS ({options})") };
    format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://@/in'{};\n\
         CREATE EXTERNAL TABLE rows STORED AS KAFKA LOCATION 'kafka://@/out'{};\n\
         INSERT INTO rows {select};",
        options(source),
        options(sink)
    )
}

pub(super) fn copy() -> String {
    pipeline("'startingOffsets' 'earliest'", "", "SELECT key, value FROM events")
}

/// All pipelines that must not start: SQL, kind, and words of the message.
pub(super) fn pipelines() -> impl Iterator<Item = (String, ErrorKind, Words)> {
    const COPY: &str = "SELECT key, value FROM events";
    let sources = SOURCE_OPTIONS.iter().map(|(options, words)| (pipeline(options, "", COPY), Usage, *words));
    let sinks = SINK_OPTIONS.iter().map(|(options, words)| (pipeline("", options, COPY), Usage, *words));
    let selects = SELECTS.iter().map(|(select, words)| (pipeline("", "", select), Query, *words));
    let others = PIPELINES.iter().map(|(sql, kind, words)| ((*sql).to_owned(), *kind, *words));
    sources.chain(sinks).chain(selects).chain(others)
}

/// The same for what is found out by asking the broker, which is one that makes no topics by itself; with the topics `in`
/// and `out` by these names.
pub(super) fn surroundings(input: &str, output: &str) -> Vec<(String, ErrorKind, Words)> {
    let sql = |source: &str, sink: &str| {
        pipeline(source, sink, "SELECT key, value FROM events")
            .replace("@/in", &format!("@/{input}"))
            .replace("@/out", &format!("@/{output}"))
            .replace("{in}", input)
    };
    SURROUNDINGS.iter().map(|(source, sink, kind, words)| (sql(source, sink), *kind, *words)).collect()
}

const SOURCE_OPTIONS: &[(&str, Words)] = &[
    ("'startingOffset' 'earliest'", &["startingoffset", "startingOffsets"]),
    ("'subscirbe' 'in'", &["subscirbe", "subscribe"]),
    ("'subscribe' ''", &["subscribe", "topics, separated by commas"]),
    ("'subscribe' ' , '", &["subscribe", "topics, separated by commas"]),
    ("'subscribe' 'a', 'subscribePattern' 'b'", &["subscribe and subscribePattern", "keep one"]),
    ("'subscribe' 'a', 'assign' '{\"in\":[0]}'", &["subscribe and assign", "keep one"]),
    ("'subscribePattern' '('", &["subscribePattern", "regular expression"]),
    ("'subscribePattern' ''", &["subscribePattern", "regular expression"]),
    ("'subscribePattern' '(?=x)'", &["subscribePattern", "regular expression"]),
    ("'assign' ''", &["assign", "[0,1]"]),
    ("'assign' 'in'", &["assign", "[0,1]"]),
    ("'assign' '{\"in\":0}'", &["assign", "[0,1]"]),
    ("'assign' '{\"in\":[-1]}'", &["assign"]),
    ("'assign' '{}'", &["assign"]),
    ("'startingOffsets' 'first'", &["startingOffsets", "'first'", "earliest, latest or JSON"]),
    ("'startingOffsets' ''", &["startingOffsets", "earliest, latest or JSON"]),
    ("'startingOffsets' '{\"in\":{\"0\":-3,\"1\":0}}'", &["startingOffsets", "in-0 at -3", "-2 (earliest)"]),
    ("'startingOffsets' '{\"in\":{\"0\":\"x\"}}'", &["startingOffsets"]),
    ("'startingOffsets' '{\"in\"'", &["startingOffsets"]),
    ("'startingOffsets' '{\"in\":{\"0\":0}}'", &["startingOffsets", "in-1"]),
    ("'startingOffsets' '{\"in\":{\"0\":0,\"1\":0,\"2\":0}}'", &["startingOffsets", "in-2"]),
    ("'startingTimestamp' 'yesterday'", &["startingTimestamp", "'yesterday'", "milliseconds since 1970"]),
    ("'startingTimestamp' ''", &["startingTimestamp", "milliseconds since 1970"]),
    ("'startingOffsetsByTimestamp' '7'", &["startingOffsetsByTimestamp"]),
    ("'startingOffsetsByTimestamp' '{\"in\":{\"0\":1}}'", &["startingOffsetsByTimestamp", "in-1"]),
    (
        "'startingOffsetsByTimestampStrategy' 'guess'",
        &["startingOffsetsByTimestampStrategy", "'guess'", "error or latest"],
    ),
    ("'failOnDataLoss' 'maybe'", &["failOnDataLoss", "'maybe'", "true or false"]),
    ("'failOnDataLoss' '1'", &["failOnDataLoss", "'1'", "true or false"]),
    ("'includeHeaders' 'yes'", &["includeHeaders", "'yes'", "true or false"]),
    ("'maxOffsetsPerTrigger' '0'", &["maxOffsetsPerTrigger", "'0'", "greater than 0"]),
    ("'maxOffsetsPerTrigger' '-5'", &["maxOffsetsPerTrigger", "'-5'", "greater than 0"]),
    ("'maxOffsetsPerTrigger' '1.5'", &["maxOffsetsPerTrigger", "'1.5'", "greater than 0"]),
    ("'maxOffsetsPerTrigger' 'many'", &["maxOffsetsPerTrigger", "'many'", "greater than 0"]),
    ("'endingOffsets' 'latest'", &["endingOffsets", "available-now"]),
    ("'endingTimestamp' '1'", &["endingTimestamp", "available-now"]),
    ("'endingOffsetsByTimestamp' '{}'", &["endingOffsetsByTimestamp", "available-now"]),
    ("'fetchOffset.numRetries' 'x'", &["fetchOffset.numRetries", "'x'", "whole number"]),
    ("'fetchOffset.numRetries' '-1'", &["fetchOffset.numRetries", "'-1'", "whole number"]),
    ("'fetchOffset.retryIntervalMs' '1s'", &["fetchOffset.retryIntervalMs", "'1s'", "milliseconds"]),
    ("'kafka.bootstrap.servers' ''", &["kafka.bootstrap.servers", "host:port"]),
    ("'kafka.auto.offset.reset' 'latest'", &["kafka.auto.offset.reset", "startingOffsets"]),
    ("'kafka.enable.auto.commit' 'true'", &["kafka.enable.auto.commit", "checkpoint"]),
    ("'kafka.enable.auto.offset.store' 'true'", &["kafka.enable.auto.offset.store", "checkpoint"]),
    ("'kafka.enable.partition.eof' 'false'", &["kafka.enable.partition.eof", "checkpoint"]),
    ("'kafka.key.deserializer' 'X'", &["kafka.key.deserializer", "CAST(value AS STRING)"]),
    ("'kafka.value.deserializer' 'X'", &["kafka.value.deserializer", "CAST(value AS STRING)"]),
    ("'kafka.interceptor.classes' 'X'", &["kafka.interceptor.classes", "Java"]),
    ("'kafka.no.such.thing' '1'", &["kafka.no.such.thing", "CONFIGURATION.md"]),
    ("'kafka.fetch.min.bytes' 'few'", &["kafka.fetch.min.bytes", "'few'"]),
    ("'kafka.fetch.min.bytes' '0'", &["kafka.fetch.min.bytes", "'0'"]),
    ("'kafka.isolation.level' 'all'", &["kafka.isolation.level", "'all'"]),
    ("'kafka.security.protocol' 'TLS'", &["kafka.security.protocol"]),
    ("'kafka.max.poll.records' '10'", &["kafka.max.poll.records", "nothing to set"]),
    (
        "'kafka.ssl.truststore.location' '/x.jks'",
        &["kafka.ssl.truststore.location", "kafka.ssl.ca.location", "PEM"],
    ),
    ("'kafka.ssl.truststore.password' 'hunter2'", &["kafka.ssl.truststore.password", "PEM"]),
    ("'kafka.sasl.jaas.config' 'password=hunter2'", &["kafka.sasl.jaas.config", "kafka.sasl.username"]),
    ("'kafka.ssl.ca.location' '/no/such/ca.pem', 'kafka.security.protocol' 'SSL'", &["/no/such/ca.pem"]),
    ("'kafka.ssl.ca.pem' 'no certificate', 'kafka.security.protocol' 'SSL'", &["ssl.ca.pem"]),
    ("'kafka.sasl.mechanism' 'GSSAPI', 'kafka.security.protocol' 'SASL_PLAINTEXT'", &["GSSAPI"]),
    (
        "'kafka.sasl.mechanism' 'SCRAM-SHA-512', 'kafka.security.protocol' 'SASL_PLAINTEXT'",
        &["sasl.username"],
    ),
];

const SINK_OPTIONS: &[(&str, Words)] = &[
    ("'tpoic' 'out'", &["tpoic", "topic"]),
    ("'topic' ''", &["topic"]),
    ("'kafka.key.serializer' 'X'", &["kafka.key.serializer", "SQL"]),
    ("'kafka.value.serializer' 'X'", &["kafka.value.serializer", "SQL"]),
    ("'kafka.acks' 'some'", &["kafka.acks", "'some'"]),
    ("'kafka.linger.ms' 'soon'", &["kafka.linger.ms", "'soon'"]),
    ("'kafka.linger.ms' '-1'", &["kafka.linger.ms", "'-1'"]),
    ("'kafka.compression.type' 'rar'", &["kafka.compression.type", "'rar'"]),
    ("'kafka.buffer.memory' 'much'", &["kafka.buffer.memory", "'much'"]),
    ("'kafka.max.block.ms' '1000'", &["kafka.max.block.ms", "kafka.message.timeout.ms"]),
    ("'kafka.partitioner' 'mine'", &["kafka.partitioner", "'mine'"]),
    ("'kafka.bootstrap.servers' ' '", &["kafka.bootstrap.servers", "host:port"]),
    ("'kafka.interceptor.classes' 'X'", &["kafka.interceptor.classes", "Java"]),
    ("'kafka.enable.idempotence' 'true', 'kafka.acks' '1'", &["acks"]),
    ("'kafka.max.in.flight.requests.per.connection' '0'", &["kafka.max.in.flight.requests.per.connection"]),
];

/// Of a query that is one, from a Kafka table into one.
const SELECTS: &[(&str, Words)] = &[
    ("SELECT nothing AS value FROM events", &["nothing"]),
    ("SELECT timestampType AS value FROM events", &["timestamptype", "timestampType"]),
    ("SELECT headers, value FROM events", &["headers"]),
    ("SELECT value FROM elsewhere", &["elsewhere"]),
    ("SELECT no_such_function(value) AS value FROM events", &["no_such_function"]),
    ("SELECT upper(value, key) AS value FROM events", &["upper"]),
    ("SELECT CAST(value AS NOTYPE) AS value FROM events", &["NOTYPE"]),
    ("SELECT value + 1 AS value FROM events", &["Binary", "Int64"]),
    ("SELECT value FROM events WHERE partition", &["Int32"]),
    ("SELECT value FROM events WHERE value LIKE 5", &["LIKE"]),
    ("SELECT value, value FROM events", &["value"]),
    ("SELECT key FROM events", &["'value'", "AS value"]),
    ("SELECT partition AS value FROM events", &["'value'", "Int32", "text or binary", "cast it"]),
    ("SELECT CAST(1.5 AS DOUBLE) AS value FROM events", &["'value'", "Float64", "text or binary"]),
    ("SELECT true AS value FROM events", &["'value'", "Boolean", "text or binary"]),
    ("SELECT value, partition AS key FROM events", &["'key'", "Int32", "text or binary"]),
    ("SELECT value, 'x' AS partition FROM events", &["'partition'", "an integer"]),
    ("SELECT value, 5 AS timestamp FROM events", &["'timestamp'", "Int64", "a timestamp"]),
    ("SELECT value, 'h' AS headers FROM events", &["'headers'", "array of structs"]),
    ("SELECT count(*) AS value FROM events", &["aggregation", "has no end"]),
    ("SELECT max(value) AS value FROM events GROUP BY key", &["aggregation", "has no end"]),
    ("SELECT value FROM events ORDER BY value", &["ORDER BY", "has no end"]),
    ("SELECT DISTINCT value FROM events", &["DISTINCT", "has no end"]),
    ("SELECT value FROM events UNION SELECT key FROM events", &["DISTINCT", "UNION without ALL"]),
    ("SELECT value FROM events LIMIT 5", &["LIMIT", "filter by a column"]),
    ("SELECT value FROM events OFFSET 5", &["OFFSET", "filter by a column"]),
    ("SELECT first_value(value) OVER () AS value FROM events", &["window", "has no end"]),
    ("SELECT a.value FROM events a JOIN events b ON a.key = b.key", &["a join", "has no end"]),
    ("SELECT a.value FROM events a, events b", &["a join", "has no end"]),
    ("SELECT value FROM events WHERE value IN (SELECT key FROM events)", &["subquery", "has no end"]),
    ("SELECT value FROM events WHERE EXISTS (SELECT 1 FROM events)", &["subquery", "has no end"]),
    ("SELECT 'x' AS value", &["SELECT without FROM", "FROM events"]),
    ("VALUES ('x')", &["VALUES", "given once"]),
    ("SELECT value FROM events INTERSECT SELECT key FROM events", &["has no end"]),
    ("SELECT value FROM events EXCEPT SELECT key FROM events", &["has no end"]),
    ("SELECT $1 AS value FROM events", &["$1", "write the value"]),
    ("SELECT value FROM events UNION ALL SELECT key, value FROM events", &["UNION"]),
];

/// Other pipelines.
const PIPELINES: &[(&str, ErrorKind, Words)] = &[
    ("", Query, &["no INSERT INTO"]),
    (";", Query, &["no INSERT INTO"]),
    ("SELEC 1", Query, &["SELEC"]),
    ("INSERT INTO", Query, &["EOF"]),
    ("SELECT 1", Query, &["writes nowhere", "INSERT INTO"]),
    ("DROP TABLE events", Query, &["DROP TABLE", "a pipeline may hold"]),
    ("DELETE FROM events", Query, &["DELETE", "a pipeline may hold"]),
    ("EXPLAIN SELECT 1", Query, &["EXPLAIN", "a pipeline may hold"]),
    ("INSERT INTO nowhere SELECT 1 AS value", Query, &["nowhere", "CREATE EXTERNAL TABLE"]),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'broker:9092/in'; INSERT INTO t SELECT value FROM t",
        Usage,
        &["broker:9092/in", "kafka://host:port/topic"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in/more'; INSERT INTO t SELECT value FROM t",
        Usage,
        &["in/more", "kafka://host:port/topic"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka:///in'; INSERT INTO t SELECT value FROM t",
        Usage,
        &["kafka.bootstrap.servers", "host:port"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@'; INSERT INTO t SELECT value FROM t",
        Usage,
        &["subscribe, subscribePattern and assign", "LOCATION"],
    ),
    ("CREATE EXTERNAL TABLE t STORED AS KAFKA", Query, &["LOCATION"]),
    (
        "CREATE EXTERNAL TABLE t STORED AS PULSAR LOCATION 'x'; INSERT INTO t SELECT 1",
        Usage,
        &["pulsar", "kafka"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS MEMORY LOCATION 'x'; INSERT INTO t SELECT 1",
        Usage,
        &["memory", "write_stream().format"],
    ),
    (
        "CREATE EXTERNAL TABLE t (value BYTEA) STORED AS KAFKA LOCATION 'kafka://@/in'",
        Query,
        &["'t'", "leave the list of columns out"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'",
        Query,
        &["t", "exists"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS CONSOLE LOCATION 'x'; INSERT INTO t SELECT value FROM t",
        Usage,
        &["console", "kafka"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; CREATE EXTERNAL TABLE c STORED AS CONSOLE LOCATION 'x' OPTIONS ('numRows' 'all'); INSERT INTO c SELECT value FROM t",
        Usage,
        &["numRows", "'all'", "a number of rows"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; CREATE EXTERNAL TABLE c STORED AS CONSOLE LOCATION 'x' OPTIONS ('truncate' 'x'); INSERT INTO c SELECT value FROM t",
        Usage,
        &["truncate", "'x'", "true, false or a number"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; CREATE EXTERNAL TABLE c STORED AS NOOP LOCATION 'x' OPTIONS ('rows' '1'); INSERT INTO c SELECT value FROM t",
        Usage,
        &["rows", "noop"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; INSERT INTO t SELECT value FROM t; INSERT INTO t SELECT value FROM t",
        Query,
        &["more than one INSERT INTO", "files of their own"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; INSERT OVERWRITE t SELECT value FROM t",
        Query,
        &["appended to"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; INSERT INTO t (value, key) SELECT value FROM t",
        Query,
        &["2 columns", "gives 1"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; INSERT INTO t DEFAULT VALUES",
        Query,
        &["SELECT"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; CREATE VIEW v AS SELECT 1 AS value; INSERT INTO v SELECT value FROM t",
        Query,
        &["INSERT INTO v", "not a stream"],
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://@/in'; CREATE VIEW v AS SELECT count(*) AS value FROM t; INSERT INTO t SELECT CAST(value AS STRING) AS value FROM v",
        Query,
        &["aggregation"],
    ),
    ("SET datafusion.no.such = 1", Query, &["no.such"]),
    ("SET datafusion.execution.batch_size = 'big'", Query, &["batch_size"]),
];

/// Source options, sink options.
const SURROUNDINGS: &[(&str, &str, ErrorKind, Words)] = &[
    ("'subscribe' 'no-such-topic'", "", Environment, &["no-such-topic"]),
    ("'assign' '{\"{in}\":[7]}'", "", Environment, &["-7"]),
    ("", "'topic' 'no-such-topic'", Environment, &["no-such-topic"]),
    (
        "'kafka.bootstrap.servers' '127.0.0.1:1', 'fetchOffset.numRetries' '0'",
        "",
        Transient,
        &["127.0.0.1:1", "kafka.bootstrap.servers"],
    ),
    (
        "'kafka.bootstrap.servers' 'no-such-host.invalid:9092', 'fetchOffset.numRetries' '0'",
        "",
        Transient,
        &["no-such-host.invalid", "kafka.bootstrap.servers"],
    ),
    ("", "'kafka.bootstrap.servers' '127.0.0.1:1'", Transient, &["127.0.0.1:1", "kafka.bootstrap.servers"]),
    (
        "'kafka.security.protocol' 'SSL', 'fetchOffset.numRetries' '0'",
        "",
        Transient,
        &["kafka.security.protocol"],
    ),
    (
        "'kafka.security.protocol' 'SASL_PLAINTEXT', 'kafka.sasl.mechanism' 'PLAIN', 'kafka.sasl.username' 'me', 'kafka.sasl.password' 'hunter2', 'fetchOffset.numRetries' '0'",
        "",
        Environment,
        &["kafka.sasl"],
    ),
];

/// Locations of checkpoints that cannot be.
pub(super) const LOCATIONS: &[(&str, ErrorKind, Words)] = &[
    ("", Usage, &["empty", "s3://"]),
    ("  ", Usage, &["empty", "s3://"]),
    ("ftp://host/x", Usage, &["ftp://host/x", "s3://"]),
    ("file://host/x", Usage, &["file://host/x", "file:///"]),
    ("s3://", Usage, &["s3://"]),
    ("/dev/null/x", Environment, &["/dev/null/x"]),
    ("/proc/x", Environment, &["/proc/x"]),
    ("Cargo.toml", Environment, &["Cargo.toml"]),
];

const ID: (&str, &str) = ("metadata", r#"{"id":"01234567-89ab-cdef-0123-456789abcdef"}"#);

/// Checkpoints that cannot be gone on from: files and their content.
pub(super) const DAMAGED: &[(Files, ErrorKind, Words)] = &[
    (&[("metadata", "")], Checkpoint, &["metadata"]),
    (&[("metadata", "{\"id\":5}")], Checkpoint, &["metadata"]),
    (
        &[ID, ("offsets/0", "v2\n{}\n{\"in\":{\"0\":0}}"), ("commits/0", "v1\n{\"nextBatchWatermarkMs\":0}")],
        Checkpoint,
        &["offsets/0", "v2"],
    ),
    (
        &[ID, ("offsets/0", "hello"), ("commits/0", "v1\n{\"nextBatchWatermarkMs\":0}")],
        Checkpoint,
        &["offsets/0"],
    ),
    (&[ID, ("commits/3", "v1\n{\"nextBatchWatermarkMs\":0}")], Checkpoint, &["epoch 3", "offsets/3"]),
    (
        &[ID, ("offsets/0", "v1\n\nnot json"), ("commits/0", "v1\n{\"nextBatchWatermarkMs\":0}")],
        Checkpoint,
        &["not json"],
    ),
    (
        &[
            ID,
            ("offsets/0", "v1\n\n{\"in\":{\"0\":0,\"1\":0}}\n{\"in\":{\"0\":0}}"),
            ("commits/0", "v1\n{\"nextBatchWatermarkMs\":0}"),
        ],
        Checkpoint,
        &["2 sources"],
    ),
    (
        &[ID, ("offsets/0", "v1\n\n{\"gone\":{\"0\":5}}"), ("commits/0", "v1\n{\"nextBatchWatermarkMs\":0}")],
        ErrorKind::DataLoss,
        &["gone-0", "failOnDataLoss"],
    ),
    (
        &[
            ID,
            ("offsets/0", "v1\n\n{\"in\":{\"0\":99,\"1\":0}}"),
            ("commits/0", "v1\n{\"nextBatchWatermarkMs\":0}"),
        ],
        ErrorKind::DataLoss,
        &["in-0", "99", "failOnDataLoss"],
    ),
];

/// An expression over a bad record, one that takes it, and words of the message.
pub(super) const PAYLOADS: &[(&str, &str, Words)] = &[
    ("CAST(value AS STRING)", "value", &["UTF-8"]),
    ("CAST(CAST(CAST(encode(value, 'hex') AS STRING) AS INT) AS STRING)", "value", &["31ff3278"]),
];

pub(super) const TRIGGERS: &[(&str, Words)] = &[
    ("", &["continuous:1s", "available-now or once"]),
    ("hourly", &["'hourly'", "continuous:1s"]),
    ("continuous", &["continuous"]),
    ("continuous:", &["time span"]),
    ("continuous:soon", &["'soon'", "100ms"]),
    ("continuous:-1s", &["'-1s'", "100ms"]),
    ("continuous:1.5s", &["'1.5s'", "100ms"]),
    ("continuous:0s", &["continuous"]),
    ("processing-time:1 month", &["1 month", "days"]),
    ("processing-time:5", &["'5'", "100ms"]),
    ("processing-time:99999999999999999999s", &["100ms"]),
    ("once:1s", &["once"]),
    ("available-now:5s", &["available-now"]),
    ("real-time:5s", &["real-time:5s", "continuous:1s"]),
];
