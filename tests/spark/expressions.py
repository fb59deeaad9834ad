"""Compares what exported expressions give here and in real Spark, over the samples of tests/data/spark-4.1.2/expressions.json.

The file says what they give here; a test of src/spark/ keeps that part true. For every row that both engines take,
the values must be the same. Run it with the Python that `tests/services/spark.sh install` prints.
"""

import json
import math
import struct
import sys
from pathlib import Path

from pyspark.sql import SparkSession, types
from pyspark.sql.classic.column import Column

FILE = Path(__file__).resolve().parents[1] / "data/spark-4.1.2/expressions.json"
TYPES = {
    "BOOLEAN": types.BooleanType(), "TINYINT": types.ByteType(), "SMALLINT": types.ShortType(),
    "INT": types.IntegerType(), "BIGINT": types.LongType(), "FLOAT": types.FloatType(), "DOUBLE": types.DoubleType(),
    "STRING": types.StringType(), "BINARY": types.BinaryType(), "DATE": types.DateType(),
    "TIMESTAMP": types.TimestampType(),
}  # fmt: skip


def spark_session():
    """With the settings that exported programs have."""
    return (
        SparkSession.builder.appName("epochflow-expressions")
        .master("local[2]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        # A part that two expressions share must fail inside of each.
        .config("spark.sql.subexpressionElimination.enabled", "false")
        .config("spark.sql.ansi.enabled", "true")
        .config("spark.sql.parser.escapedStringLiterals", "false")
        .config("spark.sql.timestampType", "TIMESTAMP_LTZ")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.caseSensitive", "true")
        .config("spark.sql.variable.substitute", "false")
        .getOrCreate()
    )


def decoded(kind, value):
    """A sample for createDataFrame."""
    if value is None:
        return None
    if kind == "BINARY":
        return bytearray.fromhex(value)
    if kind == "DOUBLE":
        return math.nan if value == "NaN" else struct.unpack(">d", bytes.fromhex(value))[0]
    return value


def encoded(kind, value):
    """A result in the form of the file."""
    if value is None:
        return None
    if kind == "BINARY":
        return bytes(value).hex()
    if kind == "STRING":
        return bytes(value).decode(errors="replace")
    if kind in ("FLOAT", "DOUBLE"):
        return "NaN" if math.isnan(value) else struct.pack(">d", value).hex()
    return value


def samples(spark, columns):
    names = list(columns)
    rows = zip(*([decoded(column["type"], value) for value in column["values"]] for column in columns.values()))
    rows = [(number, *row) for number, row in enumerate(rows)]
    fields = [types.StructField("row", types.IntegerType())]
    for name in names:
        kind = columns[name]["type"]
        fields.append(types.StructField(name, TYPES["BIGINT" if kind == "TIMESTAMP" else kind]))
    table = spark.createDataFrame(rows, types.StructType(fields))
    texts = [f"timestamp_micros({n}) AS {n}" if columns[n]["type"] == "TIMESTAMP" else n for n in names]
    return table.selectExpr("row", *texts).cache()


def evaluate(spark, table, texts):
    """For each row the values of all texts; a failure is None, a value (None, too) is in a Row of one."""
    jvm, parser = spark._jvm, spark._jsparkSession.sessionState().sqlParser()
    # What try_divide and its kin are made of: null where its argument fails.
    attempt = jvm.org.apache.spark.sql.catalyst.expressions.TryEval
    column = jvm.org.apache.spark.sql.classic.ExpressionUtils.column
    attempts = [column(attempt(parser.parseExpression(f"named_struct('value', {text})"))) for text in texts]
    rows = table.select("row", *(Column(one).alias(str(number)) for number, one in enumerate(attempts))).collect()
    return [list(row)[1:] for row in sorted(rows)]


def plain(expression):
    """The expression, as a number where Python's own type cannot hold all values."""
    form = {"DATE": "unix_date({})", "TIMESTAMP": "unix_micros({})", "STRING": "CAST({} AS BINARY)"}
    return form.get(expression["type"], "{}").format(expression["spark"])


def compare(expression, found, columns):
    agreed = 0
    for row, (expected, result) in enumerate(zip(expression["values"], found)):
        fails_here, fails_there = isinstance(expected, dict), result is None
        if fails_here or fails_there:
            continue
        value = encoded(expression["type"], result["value"])
        if value != expected:
            of = {name: column["values"][row] for name, column in columns.items()}
            return [f"{expression['sql']} is {expected!r} here, {expression['spark']} is {value!r} in Spark, of {of}"]
        agreed += value is not None
    return [] if agreed or expression["sql"].startswith("CAST(NULL") else [f"{expression['sql']}: nothing to compare"]


def main():
    given = json.loads(FILE.read_text())
    spark = spark_session()
    spark.sparkContext.setLogLevel("OFF")
    table = samples(spark, given["columns"])
    problems, comparable = [], []
    for expression in given["expressions"]:
        try:
            found = table.selectExpr(f"{expression['spark']} AS value").schema["value"].dataType
        except Exception as failure:
            problems.append(f"{expression['spark']}: {str(failure).splitlines()[0]}")
            continue
        if found == TYPES[expression["type"]]:
            comparable.append(expression)
        else:
            problems.append(f"{expression['spark']} has the type {found.simpleString()}, not {expression['type']}")
    for at in range(0, len(comparable), 20):
        expressions = comparable[at : at + 20]
        rows = evaluate(spark, table, [plain(expression) for expression in expressions])
        for number, expression in enumerate(expressions):
            problems += compare(expression, [row[number] for row in rows], given["columns"])
    spark.stop()
    if problems:
        sys.exit("\n".join(["expressions.py: these differ:", *problems]))
    print(f"{len(given['expressions'])} expressions give the same in Spark")


if __name__ == "__main__":
    main()
