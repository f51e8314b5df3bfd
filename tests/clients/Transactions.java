// What Java's clients do in transactions; one action a run. Started as a single file, with Kafka's libraries.

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

public class Transactions {
    private static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        switch (args[1]) {
            case "write" -> write(args[2], Integer.parseInt(args[3]));
            case "copy" -> copy(args[2], args[3], Integer.parseInt(args[4]));
            case "hang" -> hang(args[2]);
            case "fence" -> fence(args[2]);
            default -> throw new IllegalArgumentException(args[1]);
        }
    }

    private static KafkaProducer<String, String> producer(String id) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("transactional.id", id);
        config.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        config.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        KafkaProducer<String, String> producer = new KafkaProducer<>(config);
        producer.initTransactions();
        return producer;
    }

    /** Every third transaction is aborted; the others carry the numbers. */
    private static void write(String topic, int count) {
        try (KafkaProducer<String, String> producer = producer("writer")) {
            for (int round = 0; round < count; round++) {
                producer.beginTransaction();
                boolean aborts = round % 3 == 2;
                for (int part = 0; part < 2; part++) {
                    String value = (aborts ? "aborted-" : "") + round + "-" + part;
                    producer.send(new ProducerRecord<>(topic, value, value));
                }
                if (aborts) {
                    producer.flush();
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
        System.out.println("written");
    }

    /** Reads so many records and writes them to another topic, offsets in the same transactions. */
    private static void copy(String from, String to, int count) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", "copy");
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        config.put("isolation.level", "read_committed");
        config.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        config.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        int copied = 0;
        try (KafkaProducer<String, String> producer = producer("copy");
                KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config)) {
            consumer.subscribe(List.of(from));
            while (copied < count) {
                var records = consumer.poll(Duration.ofSeconds(1));
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(to, record.key(), record.value()));
                    TopicPartition place = new TopicPartition(record.topic(), record.partition());
                    offsets.put(place, new OffsetAndMetadata(record.offset() + 1));
                    copied++;
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                producer.commitTransaction();
            }
        }
        System.out.println("copied " + copied);
    }

    /** Leaves a transaction open, as a process does that dies. */
    private static void hang(String topic) throws Exception {
        KafkaProducer<String, String> producer = producer("hanging");
        producer.beginTransaction();
        long offset = producer.send(new ProducerRecord<>(topic, 0, "k", "never")).get().offset();
        System.out.println("offset " + offset);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** A second instance takes over; the first is told so. */
    private static void fence(String topic) {
        KafkaProducer<String, String> first = producer("fenced");
        first.beginTransaction();
        first.send(new ProducerRecord<>(topic, "k", "never"));
        first.flush();
        KafkaProducer<String, String> second = producer("fenced");
        try {
            first.commitTransaction();
            System.out.println("not fenced");
        } catch (Exception error) {
            System.out.println("fenced by " + error.getClass().getSimpleName());
        }
        second.beginTransaction();
        second.commitTransaction();
        second.close();
        first.close(Duration.ZERO);
    }
}
