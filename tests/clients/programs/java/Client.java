// Kafka's Java clients do what the scenario says. Started as a single file, with the libraries of one version.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public class Client {
    /** How many records may wait for their acknowledgement while a broker is killed. */
    private static final int WINDOW = 50;

    private static final Duration POLL = Duration.ofMillis(100);
    private static String[] access;

    public static void main(String[] args) throws Exception {
        access = args;
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = input.readLine()) != null; ) {
            try {
                run(line.split(" "));
                say("done");
            } catch (Exception error) {
                error.printStackTrace();
                say("failed", error.toString().replaceAll("\\s+", " "));
            }
        }
        System.exit(0);
    }

    private static void run(String[] words) throws Exception {
        switch (words[0]) {
            case "about" -> about();
            case "create" -> create(words[1], Integer.parseInt(words[2]), Short.parseShort(words[3]));
            case "list" -> list();
            case "produce" -> write(words[1], words[2], Integer.parseInt(words[3]), Integer.parseInt(words[4]));
            case "flood" -> write(words[1], "none", 0, Integer.parseInt(words[2]));
            case "consume" -> consume(words[1], words[2], Integer.parseInt(words[3]));
            case "offsets" -> offsets(new TopicPartition(words[1], Integer.parseInt(words[2])));
            case "seek" -> seek(new TopicPartition(words[1], Integer.parseInt(words[2])), Long.parseLong(words[3]));
            case "transact" -> transact(words[1]);
            case "read" -> read(new TopicPartition(words[1], 0), words[2], words[3]);
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    private static synchronized void say(Object... words) {
        var line = new ArrayList<String>();
        for (Object word : words) {
            line.add(word.toString());
        }
        System.out.println(String.join(" ", line));
        System.out.flush();
    }

    private static Properties config(String... more) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", access[0]);
        if (access.length > 1) {
            config.put("security.protocol", "SASL_SSL");
            config.put("ssl.truststore.type", "PEM");
            config.put("ssl.truststore.certificates", Files.readString(Path.of(access[1])));
            config.put("sasl.mechanism", "SCRAM-SHA-512");
            config.put("sasl.jaas.config", String.format(
                "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"%s\" password=\"%s\";",
                access[2], access[3]));
        }
        for (int index = 0; index < more.length; index += 2) {
            config.put(more[index], more[index + 1]);
        }
        return config;
    }

    private static KafkaProducer<String, String> producer(String... more) throws Exception {
        Properties config = config(more);
        config.put("acks", "all");
        // The default only since 3.0.
        config.put("enable.idempotence", "true");
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(String... more) throws Exception {
        Properties config = config(more);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    private static void about() {
        say("version", AppInfoParser.getVersion());
        say("codecs none gzip snappy lz4 zstd");
        say("can create idempotence headers groups offsets transactions isolation");
    }

    private static void create(String topic, int partitions, short replicas) throws Exception {
        try (Admin admin = Admin.create(config())) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, replicas))).all().get();
        }
    }

    private static void list() throws Exception {
        try (Admin admin = Admin.create(config())) {
            for (String topic : admin.listTopics().names().get()) {
                say("topic", topic);
            }
        }
    }

    /** Keeps some records on their way, and says of each whether it was acknowledged. */
    private static void write(String topic, String codec, int first, int count) throws Exception {
        Semaphore window = new Semaphore(WINDOW);
        try (var producer = producer("compression.type", codec)) {
            for (int next = first; next < first + count; next++) {
                int number = next;
                String value = String.format("v-%06d-%s", number, "abcdefgh".repeat(40));
                var record = new ProducerRecord<>(topic, String.format("k-%06d", number), value);
                record.headers().add("number", String.format("%06d", number).getBytes(StandardCharsets.UTF_8));
                window.acquire();
                producer.send(record, (stored, error) -> {
                    if (error == null) {
                        say("acknowledged", number);
                    } else {
                        say("refused", number, error.toString().replaceAll("\\s+", " "));
                    }
                    window.release();
                });
            }
            producer.flush();
        }
    }

    private static void say(int member, ConsumerRecord<String, String> record) {
        var headers = new ArrayList<String>();
        for (Header header : record.headers()) {
            headers.add(header.key() + "=" + new String(header.value(), StandardCharsets.UTF_8));
        }
        say("record", member, record.partition(), record.offset(), record.key(), record.value(),
            headers.isEmpty() ? "-" : String.join(",", headers));
    }

    private static void consume(String topic, String group, int count) throws Exception {
        CountDownLatch left = new CountDownLatch(count);
        // Nobody leaves before all have committed, or the others would be in a rebalance while they do.
        CountDownLatch uncommitted = new CountDownLatch(2);
        ExecutorService threads = Executors.newFixedThreadPool(2);
        List<Future<Void>> members = new ArrayList<>();
        for (int index = 0; index < 2; index++) {
            int number = index;
            members.add(threads.submit((Callable<Void>) () -> {
                try (var consumer = consumer("group.id", group)) {
                    consumer.subscribe(List.of(topic));
                    while (left.getCount() > 0) {
                        for (var record : consumer.poll(POLL)) {
                            say(number, record);
                            left.countDown();
                        }
                    }
                    consumer.commitSync();
                    uncommitted.countDown();
                    uncommitted.await();
                }
                return null;
            }));
        }
        threads.shutdown();
        for (Future<Void> member : members) {
            member.get();
        }
    }

    private static void offsets(TopicPartition partition) throws Exception {
        try (var consumer = consumer()) {
            var start = consumer.beginningOffsets(List.of(partition));
            var end = consumer.endOffsets(List.of(partition));
            say("offsets", start.get(partition), end.get(partition));
        }
    }

    private static void seek(TopicPartition partition, long offset) throws Exception {
        try (var consumer = consumer("max.poll.records", "1")) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, offset);
            for (boolean found = false; !found; ) {
                for (var record : consumer.poll(POLL)) {
                    say(0, record);
                    found = true;
                }
            }
        }
    }

    private static void transact(String topic) throws Exception {
        var transactions = List.of(
            Map.entry(List.of("committed-0", "committed-1", "committed-2"), true),
            Map.entry(List.of("aborted-0", "aborted-1", "aborted-2"), false),
            Map.entry(List.of("last"), true));
        try (var producer = producer("transactional.id", "java")) {
            producer.initTransactions();
            for (var transaction : transactions) {
                producer.beginTransaction();
                for (String key : transaction.getKey()) {
                    producer.send(new ProducerRecord<>(topic, key, key));
                }
                producer.flush();
                if (transaction.getValue()) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
    }

    private static void read(TopicPartition partition, String isolation, String last) throws Exception {
        try (var consumer = consumer("isolation.level", isolation)) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            for (boolean found = false; !found; ) {
                for (var record : consumer.poll(POLL)) {
                    say(0, record);
                    found |= record.key().equals(last);
                }
            }
        }
    }
}
