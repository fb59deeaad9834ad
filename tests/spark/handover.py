"""Hands one checkpoint round between epochflow and real Spark, and counts every record.

Circles, each with topics and a checkpoint of its own while records keep coming: in `stop` every leg ends by SIGTERM,
in `kill` by kill -9; in `born-in-spark` the checkpoint begins in Spark. The source topic says which rows must be in
the sink topic; each row names its record's partition and offset. Exits with 0 only if

- no record is lost: at the end, and at each hand-over none that the checkpoint calls committed;
- no leg repeats what was committed when it began, or writes a partition's records out of order;
- what is repeated is only what the leg before it had written beyond its last commit, and after a clean stop of
  epochflow that is nothing;
- a batch that Spark has planned and not committed is run by epochflow's micro-batch trigger with Spark's bounds;
- the query's id is the same in every leg, in both engines' own words;
- no checksum file of Hadoop contradicts its entry, though wrong ones lie in epochflow's way.

Spark runs what `epochflow export-spark` prints for the pipeline, the checkpoint and the trigger of the leg.

Needs a broker (tests/services/kafka.sh), Spark (tests/services/spark.sh) and a built epochflow; tests/run-spark brings
all three.
"""

import argparse
import glob
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTITIONS = 3
RATE = 600
# Spark alone needs more than a minute to start on a busy machine.
WAIT_SECONDS = 300

# Engine, trigger as export-spark takes it, and how many commits a leg makes before it is ended. 110 are enough to clean away what the leg
# before has left, checksum files and all; a batch in real time lasts 5 s.
CIRCLE = [
    ("epochflow", "continuous:100ms", 5),
    ("spark", "processing-time:0ms", 5),
    ("epochflow", "processing-time:10ms", 110),
    ("spark", "continuous:500ms", 5),
    ("epochflow", "continuous:100ms", 5),
    ("spark", "real-time:5s", 2),
    ("epochflow", "available-now", 1),
]
# The checkpoint begins in Spark, without `sources/0/0`. Spark verifies Hadoop's checksum files here.
BORN_IN_SPARK = [
    ("spark", "continuous:500ms", 3),
    ("epochflow", "processing-time:10ms", 5),
    ("spark", "available-now", 1),
]
# Reads a checkpoint through Hadoop's FileSystem, which verifies checksum files; Spark's default does not.
VERIFY_CHECKSUMS = {
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    )
}
# Legs, how they end, and settings of Spark.
CIRCLES = {
    "stop": (CIRCLE, "stop", {}),
    "kill": (CIRCLE, "kill", {}),
    "born-in-spark": (BORN_IN_SPARK, "stop", VERIFY_CHECKSUMS),
}


class Failure(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Failure(message)


def until(what, condition, seconds=WAIT_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Kafka:
    """Kafka.java as a child process."""

    def __init__(self, brokers, spark_home, log):
        connector = glob.glob(f"{spark_home}/connector/kafka-clients-*.jar")
        slf4j = glob.glob(f"{spark_home}/lib/python*/site-packages/pyspark/jars/slf4j-api-*.jar")
        self.child = subprocess.Popen(
            ["java", "-Xmx256m", "-cp", ":".join(connector + slf4j), str(HERE / "Kafka.java"), brokers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
        )
        self.log = log

    def ask(self, *command):
        try:
            print(*command, file=self.child.stdin, flush=True)
        except BrokenPipeError:
            pass
        answer = self.child.stdout.readline()
        require(answer, f"Kafka.java has failed at {command}:\n{tail(self.log)}")
        return answer.strip()

    def ends(self, topic):
        return [int(end) for end in self.ask("ends", topic).split()]

    def records(self, topic, folder):
        file = folder / topic
        self.ask("dump", topic, file)
        rows = [line.split(" ") for line in file.read_text().splitlines()]
        return [(int(partition), int(offset), value) for partition, offset, value in rows]

    def close(self):
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()


class Checkpoint:
    def __init__(self, folder, topic):
        self.folder, self.topic = folder, topic

    def ids(self, log):
        if not (self.folder / log).is_dir():
            return []
        return sorted(int(name) for name in os.listdir(self.folder / log) if name.isdecimal())

    def last(self):
        """The newest committed epoch; -1 if there is none."""
        return max(self.ids("commits"), default=-1)

    def entry(self, epoch):
        return (self.folder / "offsets" / str(epoch)).read_text()

    def committed(self):
        last = self.last()
        if last < 0:
            return [0] * PARTITIONS
        offsets = json.loads(self.entry(last).split("\n")[2])[self.topic]
        return [offsets.get(str(partition), 0) for partition in range(PARTITIONS)]

    def plan(self):
        """What is logged and not committed."""
        return {epoch: self.entry(epoch) for epoch in self.ids("offsets") if epoch > self.last()}

    def query(self):
        return json.loads((self.folder / "metadata").read_text())["id"]

    def checksums(self):
        """Hadoop's checksum files, without those of temporary files: the file they are about, and their content."""
        for path in self.folder.rglob(".*.crc"):
            if not path.name.endswith(".tmp.crc"):
                yield path.parent / path.name[1:-4], path.read_bytes()

    def check_checksums(self, after):
        for file, checksum in self.checksums():
            if file.exists():
                require(checksum == crc(file.read_bytes()), f"{after}: the .crc of {file} contradicts it")
            elif after == "epochflow" and file.name.isdecimal():
                require(int(file.name) > self.last(), f"{after}: the .crc of {file} is left without its file")

    def plant_checksums(self):
        """Wrong ones, for entries that the next leg will write."""
        for log in ("offsets", "commits"):
            (self.folder / log).mkdir(parents=True, exist_ok=True)
            for epoch in (self.last() + 2, self.last() + 3):
                (self.folder / log / f".{epoch}.crc").write_bytes(crc(b"the entry of a run that is gone"))


def crc(content):
    chunks = [content[at : at + 512] for at in range(0, len(content), 512)]
    return b"crc\0" + (512).to_bytes(4, "big") + b"".join(zlib.crc32(chunk).to_bytes(4, "big") for chunk in chunks)


@dataclass
class Leg:
    engine: str
    trigger: str
    ended: str
    first: int  # commits before
    begin: list  # committed offsets before
    sink_begin: int
    plan: dict = field(default_factory=dict)  # found at the start
    ran_plan: bool = False
    last: int = -1
    end: list = field(default_factory=list)
    sink_end: int = 0
    query: str = ""
    rows: int = 0
    repeated: int = 0


class Circle:
    def __init__(self, name, args, kafka, folder):
        self.name, self.args, self.kafka = name, args, kafka
        self.legs, self.ending, self.settings = CIRCLES[name]
        self.folder = folder / name
        self.folder.mkdir()
        unique = f"{os.getpid()}-{name}"
        self.source, self.sink = f"handover-in-{unique}", f"handover-out-{unique}"
        self.checkpoint = Checkpoint(self.folder / "checkpoint", self.source)
        self.pipeline = self.folder / "pipeline.sql"
        self.pipeline.write_text(
            f"CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{args.brokers}/{self.source}'\n"
            "  OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '500');\n"
            f"CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{args.brokers}/{self.sink}';\n"
            "INSERT INTO out SELECT concat(partition, '/', offset, '/', CAST(value AS STRING)) AS value FROM events;\n"
        )
        self.done = []

    def command(self, leg, number):
        checkpoint = ["--checkpoint", str(self.checkpoint.folder), "--trigger", leg.trigger]
        if leg.engine == "epochflow":
            return [self.args.engine, "run", str(self.pipeline), *checkpoint, "--progress", "json"]
        exported = subprocess.run(
            [self.args.engine, "export-spark", str(self.pipeline), *checkpoint], capture_output=True, text=True
        )
        require(exported.returncode == 0, f"export-spark has failed: {exported.stderr}")
        is_risky = leg.trigger.startswith("continuous") and bool(leg.plan)
        require(is_risky == ("warning:" in exported.stderr), f"plan {leg.plan}, and export-spark says: {exported.stderr}")
        program = self.folder / f"{number}-spark.py"
        program.write_text(exported.stdout)
        return [self.args.spark, str(program)]

    def spark_arguments(self):
        """What `spark-submit` would be given."""
        settings = {
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            # Its continuous engine warns at every record of what is known.
            "spark.log.level": "ERROR",
            # Not the default: an engine that takes the checkpoint over has to carry it on.
            "spark.sql.shuffle.partitions": "7",
        } | self.settings  # fmt: skip
        jars = ",".join(glob.glob(f"{Path(self.args.spark).parent.parent}/connector/*.jar"))
        # A continuous and a real-time query hold one core for each partition for good.
        arguments = ["--master", "local[4]", "--driver-memory", "1g", "--jars", jars]
        for name, value in settings.items():
            arguments += ["--conf", f"{name}={value}"]
        return shlex.join([*arguments, "pyspark-shell"])

    def start(self, command, log):
        environment = os.environ | {"RUST_LOG": "warn", "PYSPARK_SUBMIT_ARGS": self.spark_arguments()}
        # A group of its own, so that a kill takes Spark's JVM too.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log.open("wb"), stderr=subprocess.STDOUT,
            start_new_session=True, env=environment,
        )  # fmt: skip

    def sink_end(self):
        return self.kafka.ends(self.sink)[0]

    def settled_sink_end(self):
        """Requests of a killed process may still be on their way to the broker."""
        before = -1
        while (now := self.sink_end()) != before:
            before = now
            time.sleep(0.3)
        return now

    def run(self):
        self.kafka.ask("create", self.source, PARTITIONS)
        self.kafka.ask("create", self.sink, 1)
        self.kafka.ask("load", self.source, RATE)
        for number, (engine, trigger, commits) in enumerate(self.legs):
            is_last = number == len(self.legs) - 1
            if is_last:
                self.sent = int(self.kafka.ask("unload"))
            self.leg(number, engine, trigger, commits, "end" if is_last else self.ending)
        self.judge()

    def leg(self, number, engine, trigger, commits, ending):
        checkpoint, log = self.checkpoint, self.folder / f"{number}-{engine}.log"
        if engine == "epochflow":
            checkpoint.plant_checksums()
        leg = Leg(engine, trigger, ending, checkpoint.last(), checkpoint.committed(), self.settled_sink_end())
        leg.plan = checkpoint.plan()
        child = self.start(self.command(leg, number), log)
        try:
            if ending != "end":
                until(
                    f"{commits} commits of leg {number}, {engine} {trigger}",
                    lambda: self.running(child, log, leg) and checkpoint.last() >= leg.first + commits
                    # The first epochs may be empty.
                    and all(end > begin for begin, end in zip(leg.begin, checkpoint.committed())),
                )  # fmt: skip
                time.sleep(random.uniform(0, 1))
                require(child.poll() is None, f"{engine} has ended by itself:\n{tail(log)}")
            if ending == "kill":
                os.killpg(child.pid, signal.SIGKILL)
            elif ending == "stop":
                child.send_signal(signal.SIGTERM)
            status = child.wait(WAIT_SECONDS)
            require(ending == "kill" or status == 0, f"{engine} has ended with status {status}:\n{tail(log)}")
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
        leg.last, leg.end, leg.sink_end = checkpoint.last(), checkpoint.committed(), self.settled_sink_end()
        leg.query = checkpoint.query()
        self.done.append(leg)
        print(f"{self.name}: leg {number}, {engine} {trigger}: epochs {leg.first + 1} to {leg.last}", file=sys.stderr)
        named = re.search(r'^id (\S+)$|"id":"([^"]+)"', log.read_text(), re.MULTILINE)
        require(named and leg.query in named.groups(), f"{engine} names another query than {leg.query}")
        checkpoint.check_checksums(engine)
        must_run = trigger.startswith("processing-time") and leg.first + 1 in leg.plan
        require(leg.ran_plan or not must_run, f"the plan {leg.first + 1} was not run")

    def running(self, child, log, leg):
        require(child.poll() is None, f"it has ended by itself:\n{tail(log)}")
        self.check_plan(leg)
        return True

    def check_plan(self, leg):
        """While the leg runs: in the end the entry may have been cleaned away."""
        planned = leg.first + 1
        is_run = not leg.ran_plan and planned in leg.plan and planned in self.checkpoint.ids("commits")
        if leg.trigger.startswith("processing-time") and is_run:
            require(self.checkpoint.entry(planned) == leg.plan[planned], f"the plan {planned} was not run as planned")
            leg.ran_plan = True

    def judge(self):
        records = self.kafka.records(self.source, self.folder)
        expected = {(partition, offset): value for partition, offset, value in records}
        require(len(expected) == self.sent, f"{self.sent} sent and {len(expected)} in the source")
        rows = [None] * self.sink_end()
        for _, offset, value in self.kafka.records(self.sink, self.folder):
            rows[offset] = value
        require(None not in rows, "every offset of the sink holds a row")

        problems, seen, before = [], Counter(), None
        for number, leg in enumerate(self.done):
            here = f"{self.name}, leg {number} ({leg.engine} {leg.trigger})"
            reached = list(leg.begin)
            for text in rows[leg.sink_begin : leg.sink_end]:
                partition, offset, value = text.split("/")
                key = (int(partition), int(offset))
                require(expected.get(key) == value, f"{here} has written {text}, which is no record")
                leg.rows += 1
                leg.repeated += key in seen
                seen[key] += 1
                if key[1] < reached[key[0]]:
                    problems.append(f"{here} has written {text} after {reached[key[0]] - 1}, or repeated a commit")
                reached[key[0]] = max(reached[key[0]], key[1] + 1)
            for partition, end in enumerate(leg.end):
                lost = [offset for offset in range(end) if (partition, offset) not in seen]
                if lost:
                    problems.append(f"{here}: committed and not written: {len(lost)} from {partition}/{lost[0]}")
            if self.ending == "stop" and leg.repeated and before != "spark":
                problems.append(f"{here} repeats {leg.repeated} rows after a clean stop of {before}")
            before = leg.engine
        lost = expected.keys() - seen.keys()
        if lost:
            problems.append(f"{self.name}: {len(lost)} records are lost, the first {min(lost)}")
        if len({leg.query for leg in self.done}) != 1:
            problems.append(f"{self.name}: the query's id has changed")
        self.print_table(expected, seen)
        require(not problems, "\n".join(problems[:20]))

    def print_table(self, expected, seen):
        lines = [("leg", "engine and trigger", "end", "epochs", "committed before", "committed after", "plan found",
                  "rows", "repeated", "query id")]  # fmt: skip
        for number, leg in enumerate(self.done):
            plan = ",".join(map(str, leg.plan)) or "-"
            offsets = [" ".join(map(str, offsets)) for offsets in (leg.begin, leg.end)]
            lines.append((str(number), f"{leg.engine} {leg.trigger}", leg.ended, f"{leg.first + 1}-{leg.last}",
                          *offsets, plan, str(leg.rows), str(leg.repeated), leg.query[:8]))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*lines)]
        print(f"\n{self.name}: {len(expected)} records, {seen.total()} rows, {len(expected.keys() - seen.keys())} lost")
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        print(flush=True)


def tail(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-30:])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default=os.environ.get("EPOCHFLOW_TEST_KAFKA"), help="HOST:PORT of a running broker")
    parser.add_argument("--engine", required=True, help="the epochflow binary")
    parser.add_argument("--spark", required=True, help="the Python that `tests/services/spark.sh install` prints")
    parser.add_argument("--only", choices=CIRCLES, help="one circle instead of all")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the moments of the kills")
    parser.add_argument("--keep", action="store_true", help="keep logs and checkpoints of a run that passes, too")
    args = parser.parse_args()
    if not args.brokers:
        parser.error("give --brokers, or set EPOCHFLOW_TEST_KAFKA")
    return args


def main():
    args = arguments()
    random.seed(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="handover-"))
    kafka = Kafka(args.brokers, Path(args.spark).parent.parent, folder / "kafka.log")
    begin = time.monotonic()
    try:
        for name in CIRCLES:
            if args.only in (None, name):
                circle = Circle(name, args, kafka, folder)
                circle.run()
                kafka.ask("delete", circle.source)
                kafka.ask("delete", circle.sink)
    except Failure as failure:
        sys.exit(f"handover.py: {failure}\nseed {args.seed}; logs and checkpoints are in {folder}")
    finally:
        kafka.close()
    print(f"passed in {time.monotonic() - begin:.0f} s, seed {args.seed}")
    if args.keep:
        print(f"logs and checkpoints are in {folder}")
    else:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
