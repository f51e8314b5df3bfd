// What Java's share consumers do (KIP-932); one action a run. Started as a single file, with Kafka's libraries.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.config.ConfigResource;

public class ShareGroups {
    public static void main(String[] args) throws Exception {
        switch (args[1]) {
            case "set" -> set(args[0], args[2], args[3], args[4]);
            case "consume" -> consume(args[0], args[2], args[3], Integer.parseInt(args[4]), Integer.parseInt(args[5]));
            default -> throw new IllegalArgumentException(args[1]);
        }
    }

    private static void set(String bootstrap, String group, String key, String value) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
            AlterConfigOp operation = new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(operation))).all().get();
        }
        System.out.println("set");
    }

    /** Members that accept all records but some, which they give back the first time; until all values were accepted. */
    private static void consume(String bootstrap, String group, String topic, int members, int values)
            throws Exception {
        Set<String> accepted = ConcurrentHashMap.newKeySet();
        Set<String> released = ConcurrentHashMap.newKeySet();
        AtomicBoolean done = new AtomicBoolean();
        List<Thread> threads = new ArrayList<>();
        for (int member = 0; member < members; member++) {
            Thread thread = new Thread(() -> member(bootstrap, group, topic, values, accepted, released, done));
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("accepted " + accepted.size());
    }

    private static void member(
            String bootstrap,
            String group,
            String topic,
            int values,
            Set<String> accepted,
            Set<String> released,
            AtomicBoolean done) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", group);
        config.put("share.acknowledgement.mode", "explicit");
        config.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        config.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        try (KafkaShareConsumer<String, String> consumer = new KafkaShareConsumer<>(config)) {
            consumer.subscribe(Collections.singleton(topic));
            while (!done.get()) {
                // Values by the partition that they came from, to be counted once their acknowledgement is there.
                Map<String, Set<String>> taken = new HashMap<>();
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500))) {
                    boolean goesBack = record.value().hashCode() % 7 == 0 && released.add(record.value());
                    consumer.acknowledge(record, goesBack ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT);
                    if (!goesBack) {
                        String place = record.topic() + "-" + record.partition();
                        taken.computeIfAbsent(place, ignored -> new HashSet<>()).add(record.value());
                    }
                }
                Map<TopicIdPartition, Optional<KafkaException>> stored = consumer.commitSync();
                stored.forEach((partition, error) -> {
                    String place = partition.topic() + "-" + partition.partition();
                    if (error.isEmpty()) {
                        accepted.addAll(taken.getOrDefault(place, Set.of()));
                    } else {
                        System.err.println(place + ": " + error.get());
                    }
                });
                System.out.println("so far " + accepted.size());
                if (accepted.size() >= values) {
                    done.set(true);
                }
            }
        }
    }
}
