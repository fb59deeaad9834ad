import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;

/** Kafka Streams: BROKERS FROM TO PARTITIONS QUERY LINGER_MS FOLDER. */
public final class Streams {
  private static final ObjectMapper JSON = new ObjectMapper();

  static {
    JSON.enable(com.fasterxml.jackson.databind.DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS);
  }

  public static void main(String[] args) throws Exception {
    Properties config = new Properties();
    config.put("bootstrap.servers", args[0]);
    config.put("application.id", "rival-" + args[2]);
    config.put("state.dir", args[6]);
    config.put("num.stream.threads", Math.min(2, Integer.parseInt(args[3])));
    config.put("commit.interval.ms", 1000);
    config.put("consumer.auto.offset.reset", "earliest");
    config.put("consumer.fetch.max.wait.ms", 100);
    config.put("producer.acks", "all");
    config.put("producer.linger.ms", args[5]);

    StreamsBuilder builder = new StreamsBuilder();
    KStream<byte[], byte[]> in = builder.stream(args[1], Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()));
    KStream<byte[], byte[]> out =
        switch (args[4]) {
          case "p0" -> in;
          case "h1" -> in.mapValues(Streams::h1).filter((key, value) -> value != null);
          default -> throw new IllegalArgumentException("there is no " + args[4] + " for Kafka Streams");
        };
    out.to(args[2], Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));

    KafkaStreams streams = new KafkaStreams(builder.build(), config);
    CountDownLatch stopped = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      streams.close();
      stopped.countDown();
    }));
    streams.start();
    stopped.await();
  }

  /** Null where the filter holds a record back. */
  private static byte[] h1(byte[] value) {
    try {
      JsonNode row = JSON.readTree(value);
      if (row.get("l_shipdate").textValue().compareTo("1998-09-02") > 0) {
        return null;
      }
      BigDecimal one = BigDecimal.ONE;
      BigDecimal discPrice =
          row.get("l_extendedprice").decimalValue().multiply(one.subtract(row.get("l_discount").decimalValue()));
      ObjectNode out = JSON.createObjectNode();
      for (String name : new String[] {"seq", "t0", "l_orderkey", "l_returnflag", "l_linestatus"}) {
        out.set(name, row.get(name));
      }
      out.put("disc_price", discPrice);
      out.put("charge", discPrice.multiply(one.add(row.get("l_tax").decimalValue())));
      return JSON.writeValueAsBytes(out);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
