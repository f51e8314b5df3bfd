// An application of Kafka Streams with state: counts words, and joins orders with customers. Told what to do on its standard input, a line a
// command; each command's answers end with `done` or `failed WHY`. Arguments: BOOTSTRAP DIRECTORY [NAME=VALUE...], of further settings.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.StreamsGroupDescription;
import org.apache.kafka.clients.admin.StreamsGroupMemberAssignment;
import org.apache.kafka.clients.admin.StreamsGroupMemberDescription;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.QueryableStoreTypes;

public class Application {
    private static final String ID = "words";
    private static final Duration WITHIN = Duration.ofSeconds(80);

    public static void main(String[] args) throws Exception {
        KafkaStreams streams = new KafkaStreams(topology(), config(args));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            try {
                switch (command) {
                    case "run" -> awaitRunning(streams);
                    case "state" -> printState(streams);
                    case "group" -> printGroup(args[0]);
                    case "stop" -> {
                        if (!streams.close(WITHIN)) {
                            throw new IllegalStateException("it did not stop within " + WITHIN);
                        }
                    }
                    default -> throw new IllegalArgumentException(command);
                }
                System.out.println("done");
            } catch (Exception error) {
                System.out.println("failed " + error);
            }
        }
    }

    private static Properties config(String[] args) {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("state.dir", args[1]);
        config.put("application.id", ID);
        config.put("processing.guarantee", "exactly_once_v2");
        config.put("replication.factor", "3");
        config.put("num.stream.threads", "2");
        config.put("default.key.serde", Serdes.String().getClass());
        config.put("default.value.serde", Serdes.String().getClass());
        // Every change is written out, not the last of some.
        config.put("statestore.cache.max.bytes", "0");
        config.put("repartition.purge.interval.ms", "1000");
        config.put("consumer.auto.offset.reset", "earliest");
        for (String setting : List.of(args).subList(2, args.length)) {
            String[] parts = setting.split("=", 2);
            config.put(parts[0], parts[1]);
        }
        // Members of streams groups are told these by the brokers.
        if (!"streams".equals(config.get("group.protocol"))) {
            config.put("main.consumer.session.timeout.ms", "6000");
            config.put("main.consumer.heartbeat.interval.ms", "1000");
        }
        return config;
    }

    private static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> lines = builder.stream("lines");
        lines.flatMapValues(line -> List.of(line.split(" ")))
                .groupBy((key, word) -> word, Grouped.as("words"))
                .count(Materialized.as("counts"))
                .toStream()
                .mapValues(String::valueOf)
                .to("counts");
        KStream<String, String> orders = builder.stream("orders");
        orders.join(builder.<String, String>table("customers"), (order, name) -> order + " of " + name).to("named-orders");
        return builder.build();
    }

    private static void awaitRunning(KafkaStreams streams) throws InterruptedException {
        long deadline = System.nanoTime() + WITHIN.toNanos();
        while (streams.state() != KafkaStreams.State.RUNNING) {
            if (System.nanoTime() > deadline || streams.state() == KafkaStreams.State.ERROR) {
                throw new IllegalStateException("it is " + streams.state());
            }
            Thread.sleep(20);
        }
    }

    /// The streams group, as an administrator sees it: its state, and where each task is active.
    private static void printGroup(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            StreamsGroupDescription group = admin.describeStreamsGroups(List.of(ID)).all().get().get(ID);
            System.out.println("group " + group.groupState());
            for (StreamsGroupMemberDescription member : group.members()) {
                for (StreamsGroupMemberAssignment.TaskIds tasks : member.assignment().activeTasks()) {
                    for (int partition : tasks.partitions()) {
                        System.out.println("task " + tasks.subtopologyId() + " " + partition);
                    }
                }
            }
        }
    }

    private static void printState(KafkaStreams streams) {
        var store = streams.store(StoreQueryParameters.fromNameAndType("counts", QueryableStoreTypes.<String, Long>keyValueStore()));
        try (var all = store.all()) {
            while (all.hasNext()) {
                KeyValue<String, Long> entry = all.next();
                System.out.println("count " + entry.key + " " + entry.value);
            }
        }
    }
}
