"""Writes a Parquet sink with epochflow, which is killed again and again, and reads it with real Spark.

The source topic says which rows must be there: each row names its record's partition and offset. Under triggers that take
turns, epochflow is ended by kill -9 while records keep coming, and runs to the end at last. Exits with 0 only if

- Spark, which goes by `_spark_metadata`, finds each record exactly once, in the partition of its value;
- files that no entry names, of epochs that a kill has cut off, are in the folder: the check is not idle;
- a Spark query that goes on with the same folder reads epochflow's log, and what both have written is there once.

Needs a broker, Spark and a built epochflow, as handover.py does; tests/run-spark brings all three.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

PARTITIONS = 3
RATE = 600
LEGS = ["continuous:100ms", "processing-time:50ms", "continuous:50ms", "processing-time:10ms"] * 2
ROWS = "SELECT concat(partition, '/', offset) AS record, CAST(value AS STRING) AS number, partition AS p FROM events"


def pipeline(brokers, topic, out):
    return f"""
        CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{topic}'
          OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '300');
        CREATE EXTERNAL TABLE out STORED AS PARQUET LOCATION '{out}' PARTITIONED BY (p);
        INSERT INTO out {ROWS};
    """


def run(args, topic, folder):
    from handover import Kafka, require, until

    out, checkpoint = folder / "out dir", folder / "checkpoint"
    sql = folder / "pipeline.sql"
    sql.write_text(pipeline(args.brokers, topic, out))
    kafka = Kafka(args.brokers, Path(args.spark).parent.parent, folder / "kafka.log")
    kafka.ask("create", topic, PARTITIONS)
    kafka.ask("load", topic, RATE)

    def engine(trigger):
        command = [args.engine, "run", sql, "--checkpoint", checkpoint, "--trigger", trigger, "--progress", "none"]
        return subprocess.Popen(command, stderr=(folder / "engine.log").open("ab"))

    for trigger in LEGS:
        before, leg = entries(out), engine(trigger)
        until(f"{trigger} commits", lambda: entries(out) > before + 2 or leg.poll() is not None)
        require(leg.poll() is None, f"{trigger} has ended by itself: {folder}/engine.log")
        time.sleep(random.uniform(0, 0.2))
        leg.send_signal(signal.SIGKILL)
        leg.wait()
    sent = int(kafka.ask("unload"))
    require(engine("available-now").wait() == 0, f"the last run has failed: {folder}/engine.log")
    ends = kafka.ends(topic)
    require(sum(ends) == sent, f"{sent} records were sent and {sum(ends)} are there")

    found = read(args, out, folder)
    expected = Counter(f"{partition}/{offset}" for partition, end in enumerate(ends) for offset in range(end))
    rows = Counter(row["record"] for row in found)
    require(rows == expected, f"lost: {list(expected - rows)[:5]}, too many: {list(rows - expected)[:5]}")
    misplaced = [row for row in found if not row["record"].startswith(f"{row['p']}/")]
    require(not misplaced, f"in the wrong partition: {misplaced[:5]}")
    files, stale = committed(out)
    print(f"parquet.py: {sent} records, {entries(out) + 1} epochs, {len(LEGS)} kills: Spark reads each record once")
    print(f"parquet.py: {len(files)} committed files, {len(stale)} that no entry names")

    last = entries(out)
    spark(args, "append", out, folder)
    require(entries(out) > last, "Spark's query has committed nothing")
    rows = Counter(row["record"] for row in read(args, out, folder))
    require(not expected - rows, "after Spark's own epochs, rows are lost")
    added = rows - expected
    is_sparks = all(record.startswith("spark/") and times == 1 for record, times in added.items())
    require(added and is_sparks, f"after Spark's own epochs, rows are not its own: {list(added)[:5]}")
    print(f"parquet.py: Spark went on up to epoch {entries(out)} in the same log, and reads the rows of both")
    kafka.ask("delete", topic)
    kafka.close()


def entries(out):
    """The newest epoch in the log; -1 if there is none."""
    names = {path.name.removesuffix(".compact") for path in out.glob("_spark_metadata/*")}
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def committed(out):
    """The files that the log names, and those that it does not."""
    named = set()
    for entry in out.glob("_spark_metadata/*"):
        lines = entry.read_text().split("\n")[1:]
        named |= {unquote(json.loads(line)["path"].removeprefix("file://")) for line in lines if line}
    there = {str(path) for path in out.rglob("*.parquet")}
    return named, there - named


def read(args, out, folder):
    spark(args, "read", out, folder)
    return [json.loads(line) for file in (folder / "rows").glob("part-*") for line in file.read_text().splitlines()]


def spark(args, step, out, folder):
    shutil.rmtree(folder / "rows", ignore_errors=True)
    command = [args.spark, __file__, *"--brokers - --engine - --spark -".split()]
    command += ["--step", step, "--folder", folder, "--out", out]
    log = folder / "spark.log"
    if subprocess.run(command, stderr=log.open("ab"), stdout=log.open("ab")).returncode:
        sys.exit(f"parquet.py: Spark has failed: {log}")


def in_spark(args):
    """One step, run by Spark's Python."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.appName("parquet")
        .master("local[2]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    if args.step == "read":
        session.read.parquet(args.out).coalesce(1).write.json(f"{args.folder}/rows")
        return
    # The batches of a new checkpoint begin at 0, and Spark skips those that the log has.
    last = entries(Path(args.out))
    source = session.readStream.format("rate-micro-batch").option("rowsPerBatch", 5).option("numPartitions", 1).load()
    rows = source.selectExpr("concat('spark/', value) AS record", "CAST(value AS STRING) AS number", "0 AS p")
    writer = rows.writeStream.format("parquet").partitionBy("p").option("path", args.out)
    writer = writer.option("checkpointLocation", f"{args.folder}/spark-checkpoint")
    query = writer.trigger(processingTime="0 seconds").start()
    while query.lastProgress is None or query.lastProgress["batchId"] <= last:
        time.sleep(0.05)
    query.stop()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True, help="HOST:PORT of a running broker")
    parser.add_argument("--engine", required=True, help="the epochflow binary")
    parser.add_argument("--spark", required=True, help="the Python that `tests/services/spark.sh install` prints")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the moments of the kills")
    for internal in ("--step", "--folder", "--out"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    if args.step:
        return in_spark(args)
    from handover import Failure

    random.seed(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="parquet-"))
    try:
        run(args, f"parquet-{folder.name[-8:]}", folder)
    except Failure as failure:
        sys.exit(f"parquet.py: {failure}\nseed {args.seed}; logs and files are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
