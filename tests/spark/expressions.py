"""Compares what exported expressions give here and in real Spark, over the samples of tests/data/spark-4.1.2/expressions.json.

The file says what they give here; a test of src/spark/ keeps that part true. For every row that both engines take,
the values must be the same. Run it with the Python that `tests/services/spark.sh install` prints.
"""

import datetime
import json
import math
import struct
import sys
from pathlib import Path

from pyspark.sql import SparkSession, types

FILE = Path(__file__).resolve().parents[1] / "data/spark-4.1.2/expressions.json"
EPOCH = datetime.datetime(1970, 1, 1)
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
        .config("spark.sql.ansi.enabled", "true")
        .config("spark.sql.parser.escapedStringLiterals", "false")
        .config("spark.sql.timestampType", "TIMESTAMP_LTZ")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.caseSensitive", "true")
        .config("spark.sql.variable.substitute", "false")
        .getOrCreate()
    )


def decoded(kind, value):
    """A sample for createDataFrame; timestamps as microseconds, which Python's own cannot all hold."""
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


def evaluate(table, expression, rows):
    """Values by row; rows that fail are left out."""
    if not rows:
        return {}
    chosen = table.where(f"row IN ({', '.join(map(str, rows))})")
    try:
        return {row["row"]: row["result"] for row in chosen.selectExpr("row", f"{expression} AS result").collect()}
    except Exception as failure:
        if "PARSE_SYNTAX_ERROR" in str(failure) or "DATATYPE_MISMATCH" in str(failure) or "UNRESOLVED" in str(failure):
            raise
        if len(rows) == 1:
            return {}
        half = len(rows) // 2
        return evaluate(table, expression, rows[:half]) | evaluate(table, expression, rows[half:])


def main():
    given = json.loads(FILE.read_text())
    spark = spark_session()
    spark.sparkContext.setLogLevel("OFF")
    table = samples(spark, given["columns"])
    problems = []
    for expression in given["expressions"]:
        text, kind = expression["spark"], expression["type"]
        expected = {n: v for n, v in enumerate(expression["values"]) if not isinstance(v, dict)}
        try:
            found_type = table.selectExpr(f"{text} AS result").schema["result"].dataType
            if found_type != TYPES[kind]:
                problems.append(f"{text} has the type {found_type.simpleString()} and not {kind}")
                continue
            plain = {"DATE": f"unix_date({text})", "TIMESTAMP": f"unix_micros({text})"}.get(kind, text)
            found = evaluate(table, plain, sorted(expected))
        except Exception as failure:
            problems.append(f"{text}: {str(failure).splitlines()[0]}")
            continue
        agreed = 0
        for row, value in found.items():
            value = encoded(kind, value)
            if value == expected[row]:
                agreed += value is not None
            else:
                arguments = {n: c["values"][row] for n, c in given["columns"].items() if n in expression["sql"]}
                problems.append(f"{expression['sql']} of {arguments} is {expected[row]!r} here, {value!r} in Spark")
                break
        if not agreed and text != "CAST(NULL AS STRING)":
            problems.append(f"{text}: no row has a value in both engines")
    spark.stop()
    if problems:
        sys.exit("\n".join(["expressions.py: these differ:", *problems]))
    print(f"{len(given['expressions'])} expressions give the same in Spark")


if __name__ == "__main__":
    main()
