import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.Trigger;

/** Spark: MODE BROKERS FROM TO PARTITIONS QUERY LINGER_MS FOLDER, with the mode continuous, real-time or micro-batch. */
public final class Spark {
  public static void main(String[] args) throws Exception {
    // A continuous and a real-time query hold one core for each partition for good.
    SparkSession spark =
        SparkSession.builder()
            .master("local[" + (Integer.parseInt(args[4]) + 2) + "]")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .getOrCreate();
    Dataset<Row> events =
        spark.readStream().format("kafka").option("kafka.bootstrap.servers", args[1])
            .option("subscribe", args[2]).option("startingOffsets", "earliest")
            .option("kafka.fetch.max.wait.ms", "100").load();
    Dataset<Row> results =
        switch (args[5]) {
          case "p0" -> events.select("key", "value");
          case "h1" -> h1(events);
          default -> throw new IllegalArgumentException("there is no " + args[5] + " for Spark");
        };
    Trigger trigger =
        switch (args[0]) {
          case "continuous" -> Trigger.Continuous("1 second");
          case "real-time" -> Trigger.RealTime("5 seconds");
          case "micro-batch" -> Trigger.ProcessingTime(0);
          default -> throw new IllegalArgumentException("Spark has no mode " + args[0]);
        };
    results.writeStream().format("kafka").option("kafka.bootstrap.servers", args[1]).option("topic", args[3])
        .option("kafka.linger.ms", args[6]).option("kafka.acks", "all")
        .option("checkpointLocation", args[7] + "/checkpoint")
        .outputMode(args[0].equals("real-time") ? "update" : "append")
        .trigger(trigger).start().awaitTermination();
  }

  private static Dataset<Row> h1(Dataset<Row> events) {
    String schema =
        "seq BIGINT, t0 BIGINT, l_orderkey BIGINT, l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(3, 2),"
            + " l_tax DECIMAL(3, 2), l_returnflag STRING, l_linestatus STRING, l_shipdate STRING";
    return events
        .selectExpr("from_json(CAST(value AS STRING), '" + schema + "') AS row")
        .select("row.*")
        .where("l_shipdate <= '1998-09-02'")
        .selectExpr(
            "to_json(struct(seq, t0, l_orderkey, l_returnflag, l_linestatus,"
                + " l_extendedprice * (1 - l_discount) AS disc_price,"
                + " l_extendedprice * (1 - l_discount) * (1 + l_tax) AS charge)) AS value");
  }
}
