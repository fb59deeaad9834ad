import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** Flink SQL in a local mini cluster: BROKERS FROM TO PARTITIONS QUERY LINGER_MS FOLDER. */
public final class Flink {
  public static void main(String[] args) throws Exception {
    Configuration config = new Configuration();
    config.setString("execution.buffer-timeout.interval", "0 ms");
    config.setString("execution.checkpointing.interval", "1s");
    config.setString("execution.checkpointing.dir", "file://" + args[6] + "/checkpoints");
    config.setString("parallelism.default", String.valueOf(Math.min(2, Integer.parseInt(args[3]))));
    config.setString("rest.port", "0");
    EnvironmentSettings settings =
        EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(config).build();
    TableEnvironment tables = TableEnvironment.create(settings);

    String source =
        "'connector'='kafka', 'properties.bootstrap.servers'='" + args[0] + "', 'topic'='" + args[1]
            + "', 'scan.startup.mode'='earliest-offset', 'properties.group.id'='rival-" + args[2]
            + "', 'properties.fetch.max.wait.ms'='100'";
    String sink =
        "'connector'='kafka', 'properties.bootstrap.servers'='" + args[0] + "', 'topic'='" + args[2]
            + "', 'properties.linger.ms'='" + args[5] + "', 'properties.acks'='all'";
    switch (args[4]) {
      case "p0" -> {
        tables.executeSql("CREATE TABLE events (v BYTES) WITH (" + source + ", 'format'='raw')");
        tables.executeSql("CREATE TABLE results (v BYTES) WITH (" + sink + ", 'format'='raw')");
        tables.executeSql("INSERT INTO results SELECT v FROM events").await();
      }
      case "h1" -> {
        tables.executeSql(
            "CREATE TABLE events (seq BIGINT, t0 BIGINT, l_orderkey BIGINT, l_extendedprice DECIMAL(15, 2),"
                + " l_discount DECIMAL(3, 2), l_tax DECIMAL(3, 2), l_returnflag STRING, l_linestatus STRING,"
                + " l_shipdate STRING) WITH (" + source + ", 'format'='json')");
        tables.executeSql(
            "CREATE TABLE results (seq BIGINT, t0 BIGINT, l_orderkey BIGINT, l_returnflag STRING,"
                + " l_linestatus STRING, disc_price DECIMAL(20, 4), charge DECIMAL(24, 6)) WITH ("
                + sink + ", 'format'='json')");
        tables.executeSql(
            "INSERT INTO results SELECT seq, t0, l_orderkey, l_returnflag, l_linestatus,"
                + " l_extendedprice * (1 - l_discount), l_extendedprice * (1 - l_discount) * (1 + l_tax)"
                + " FROM events WHERE l_shipdate <= '1998-09-02'").await();
      }
      default -> throw new IllegalArgumentException("there is no " + args[4] + " for Flink");
    }
  }
}
