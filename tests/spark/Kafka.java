import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The topics of handover.py, which Python's standard library cannot reach. Runs from its source: java -cp JARS
 * Kafka.java BROKERS. Takes one command a line, answers each with one line:
 *
 * <pre>
 * create TOPIC PARTITIONS   ok
 * load TOPIC RATE           ok; from then on numbers go to all partitions in turn, RATE a second
 * unload                    how many records the load has sent, all of them acknowledged
 * ends TOPIC                the end of each partition, from 0 on
 * dump TOPIC FILE           ok; FILE then has a line for each record: partition, offset, value
 * delete TOPIC              ok
 * </pre>
 */
public class Kafka {
    private final String brokers;
    private final Admin admin;
    private final KafkaConsumer<String, String> consumer;
    private Load load;

    private Kafka(String brokers) {
        this.brokers = brokers;
        admin = Admin.create(Map.of("bootstrap.servers", brokers));
        Map<String, Object> options = Map.of("bootstrap.servers", brokers, "enable.auto.commit", false);
        consumer = new KafkaConsumer<>(options, new StringDeserializer(), new StringDeserializer());
    }

    public static void main(String[] args) throws Exception {
        Kafka kafka = new Kafka(args[0]);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = commands.readLine()) != null; ) {
            System.out.println(kafka.run(line.split(" ")));
            System.out.flush();
        }
        System.exit(0);
    }

    private String run(String[] command) throws Exception {
        switch (command[0]) {
            case "create" -> {
                NewTopic topic = new NewTopic(command[1], Integer.parseInt(command[2]), (short) 1);
                admin.createTopics(List.of(topic)).all().get();
                awaitTopic(command[1]);
            }
            case "load" -> load = new Load(command[1], partitions(command[1]).size(), Long.parseLong(command[2]));
            case "unload" -> {
                return Long.toString(load.end());
            }
            case "ends" -> {
                List<TopicPartition> partitions = partitions(command[1]);
                Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
                return partitions.stream().map(p -> ends.get(p).toString()).collect(Collectors.joining(" "));
            }
            case "dump" -> dump(command[1], Path.of(command[2]));
            case "delete" -> admin.deleteTopics(List.of(command[1])).all().get();
            default -> throw new IllegalArgumentException("no command " + command[0]);
        }
        return "ok";
    }

    /** A topic is created a moment before the broker answers for it. */
    private void awaitTopic(String topic) throws Exception {
        for (long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30); ; Thread.sleep(50)) {
            try {
                partitions(topic);
                return;
            } catch (ExecutionException error) {
                boolean unknown = error.getCause() instanceof UnknownTopicOrPartitionException;
                if (!unknown || System.nanoTime() > deadline) {
                    throw error;
                }
            }
        }
    }

    private List<TopicPartition> partitions(String topic) throws Exception {
        int count = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
        return IntStream.range(0, count).mapToObj(number -> new TopicPartition(topic, number)).toList();
    }

    private void dump(String topic, Path file) throws Exception {
        List<TopicPartition> partitions = partitions(topic);
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        try (BufferedWriter out = Files.newBufferedWriter(file)) {
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    out.write(record.partition() + " " + record.offset() + " " + record.value() + "\n");
                }
            }
        }
        consumer.assign(List.of());
    }

    private class Load {
        private final AtomicReference<Exception> failure = new AtomicReference<>();
        private final Thread thread;
        private volatile boolean stopped;
        private volatile long sent;

        Load(String topic, int partitions, long rate) {
            thread = new Thread(() -> send(topic, partitions, rate), "load");
            thread.setDaemon(true);
            thread.start();
        }

        private void send(String topic, int partitions, long rate) {
            Map<String, Object> options = Map.of("bootstrap.servers", brokers, "linger.ms", 1);
            try (var producer = new KafkaProducer<>(options, new StringSerializer(), new StringSerializer())) {
                long begin = System.nanoTime();
                for (long number = 0; !stopped; number++) {
                    LockSupport.parkNanos(begin + number * TimeUnit.SECONDS.toNanos(1) / rate - System.nanoTime());
                    int partition = (int) (number % partitions);
                    producer.send(
                            new ProducerRecord<>(topic, partition, null, Long.toString(number)),
                            (metadata, error) -> failure.compareAndSet(null, error));
                    sent = number + 1;
                }
            } catch (Exception error) {
                failure.compareAndSet(null, error);
            }
        }

        long end() throws Exception {
            stopped = true;
            thread.join();
            if (failure.get() != null) {
                throw failure.get();
            }
            return sent;
        }
    }
}
