"""One leg of real Spark on a checkpoint: the query of handover.py under one of Spark's triggers.

Run it with the Python that `tests/services/spark.sh install` prints. It goes on until SIGTERM, which stops the query
as a Spark user does, with `query.stop()`; available-now ends by itself. Prints `id <the query's id>` when it runs.
"""

import argparse
import glob
import signal
import sys
import threading

from pyspark.sql import SparkSession

MODES = ["micro-batch", "available-now", "continuous", "real-time"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--source", required=True, help="topic to read")
    parser.add_argument("--sink", required=True, help="topic to write")
    parser.add_argument("--checkpoint", required=True, help="folder")
    parser.add_argument("--mode", required=True, choices=MODES)
    parser.add_argument("--interval", default="500 milliseconds", help="between epochs under continuous")
    parser.add_argument(
        "--verify-checksums",
        action="store_true",
        help="read the checkpoint through Hadoop's FileSystem, which verifies .crc files; Spark's default does not",
    )
    return parser.parse_args()


def session(verify_checksums):
    builder = (
        SparkSession.builder.appName("epochflow-handover")
        # A continuous and a real-time query hold one core for each partition for good.
        .master("local[4]")
        .config("spark.jars", ",".join(glob.glob(f"{sys.prefix}/connector/*.jar")))
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        # Not the default: an engine that takes the checkpoint over has to carry it on.
        .config("spark.sql.shuffle.partitions", "7")
    )
    if verify_checksums:
        manager = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
        builder = builder.config("spark.sql.streaming.checkpointFileManagerClass", manager)
    return builder.getOrCreate()


def trigger(spark, writer, mode, interval):
    if mode == "micro-batch":
        return writer.trigger(processingTime="0 seconds")
    if mode == "available-now":
        return writer.trigger(availableNow=True)
    if mode == "continuous":
        return writer.trigger(continuous=interval)
    # Not in PySpark's own interface before 4.2.
    real_time = spark._jvm.org.apache.spark.sql.streaming.Trigger.RealTime("5 seconds")
    writer._jwrite = writer._jwrite.trigger(real_time)
    return writer


def query(spark, args):
    reader = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", args.brokers)
        .option("subscribe", args.source)
        .option("startingOffsets", "earliest")
    )
    if args.mode in ("micro-batch", "available-now"):
        reader = reader.option("maxOffsetsPerTrigger", 500)
    rows = reader.load().selectExpr("concat(partition, '/', offset, '/', CAST(value AS STRING)) AS value")
    writer = (
        rows.writeStream.format("kafka")
        .option("kafka.bootstrap.servers", args.brokers)
        .option("topic", args.sink)
        .option("checkpointLocation", args.checkpoint)
        .outputMode("update")
    )
    return trigger(spark, writer, args.mode, args.interval).start()


def main():
    args = arguments()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    spark = session(args.verify_checksums)
    running = query(spark, args)
    print(f"id {running.id}", flush=True)
    # In short waits: Python runs a signal's handler between two of them.
    while running.isActive and not stop.is_set():
        stop.wait(0.1)
    if running.isActive:
        running.stop()
    failure = running.exception()
    spark.stop()
    if failure is not None:
        sys.exit(f"leg.py: the query has failed: {failure}")


if __name__ == "__main__":
    main()
