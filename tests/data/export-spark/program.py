# Printed by `epochflow export-spark`, for Apache Spark 4.1:
#   spark-submit --packages org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.2 THIS_FILE
# Stop epochflow first. Two queries on one checkpoint damage each other's plans.

import os
import signal
import threading

from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.appName("epochflow")
    # What the expressions below mean depends on these.
    .config("spark.sql.ansi.enabled", "true")
    .config("spark.sql.parser.escapedStringLiterals", "false")
    .config("spark.sql.timestampType", "TIMESTAMP_LTZ")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.caseSensitive", "true")
    .config("spark.sql.variable.substitute", "false")
    .getOrCreate()
)


def read_events():
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", "broker1:9092,broker2:9092")
        .option("kafka.sasl.mechanism", "SCRAM-SHA-512")
        .option("kafka.security.protocol", "SASL_SSL")
        .option("kafka.ssl.truststore.type", "PEM")
        .option("kafka.ssl.truststore.location", "/etc/ssl/certs/ca.pem")
        .option("maxOffsetsPerTrigger", "500")
        .option("startingOffsets", "earliest")
        .option("subscribe", "in")
        .option("kafka.sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"me\" password=\"" + os.environ["KAFKA_SASL_PASSWORD"] + "\";")
        .load()
    )


def read_more_events():
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", "broker1:9092")
        .option("subscribe", "more")
        .load()
    )


rows = (
    read_events()
    .selectExpr(
        "`key`",
        "CAST(`value` AS STRING) AS `text`",
        "`offset`",
    )
    .where("((`text` LIKE '%error%') OR (`text` IS NULL))")
    .selectExpr(
        "`key`",
        "concat(coalesce(CAST(`offset` AS STRING), ''), ': ', coalesce(upper(`text`), '')) AS `value`",
    )
    .union(
        read_more_events()
        .where("(CAST(`partition` AS BIGINT) < 3L)")
        .selectExpr(
            "`key`",
            "CAST(`value` AS STRING) AS `value`",
        )
    )
)

writer = (
    rows.writeStream.format("kafka")
    .option("kafka.bootstrap.servers", "broker1:9092")
    .option("topic", "errors")
    .option("checkpointLocation", "s3a://bucket/query")
    .trigger(processingTime="500 milliseconds")
)
query = writer.start()
print(f"id {query.id}", flush=True)

# In a thread of its own: the main one is inside Spark.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=query.stop).start())
query.awaitTermination()
spark.stop()
