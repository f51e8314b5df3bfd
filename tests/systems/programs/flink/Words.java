// A job of Flink with state: counts words exactly once, from the newest checkpoint or savepoint that there is. Told what to do on its standard
// input, a line a command; each command's answers end with `done` or `failed WHY`. Arguments: BOOTSTRAP DIRECTORY.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.producer.ProducerRecord;

public class Words {
    private static final long WITHIN_S = 80;

    public static void main(String[] args) throws Exception {
        Path directory = Path.of(args[1]);
        Optional<Path> from = newest(directory);
        JobClient job = start(args[0], directory, from);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            try {
                switch (command) {
                    case "from" -> System.out.println("from " + from.map(path -> path.getFileName().toString()).orElse("nothing"));
                    case "run" -> awaitCheckpoint(directory.resolve("checkpoints").resolve(job.getJobID().toString()));
                    case "stop" -> job.stopWithSavepoint(false, directory.resolve("savepoints").toUri().toString(), SavepointFormatType.CANONICAL)
                            .get(WITHIN_S, TimeUnit.SECONDS);
                    default -> throw new IllegalArgumentException(command);
                }
                System.out.println("done");
            } catch (Exception error) {
                System.out.println("failed " + error);
            }
        }
    }

    private static JobClient start(String bootstrap, Path directory, Optional<Path> from) throws Exception {
        Configuration config = new Configuration();
        config.setString("execution.checkpointing.interval", "500 ms");
        config.setString("execution.checkpointing.dir", directory.resolve("checkpoints").toUri().toString());
        config.setString("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
        config.setString("restart-strategy.type", "fixed-delay");
        config.setString("restart-strategy.fixed-delay.attempts", "100");
        config.setString("restart-strategy.fixed-delay.delay", "500 ms");
        for (String address : List.of("rest.address", "rest.bind-address", "jobmanager.bind-host", "taskmanager.bind-host")) {
            config.setString(address, "127.0.0.1");
        }
        from.ifPresent(path -> config.setString("execution.state-recovery.path", path.toUri().toString()));
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(2, config);

        KafkaSource<String> lines = KafkaSource.<String>builder()
                .setBootstrapServers(bootstrap)
                .setTopics("lines")
                .setGroupId("flink")
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new SimpleStringSchema())
                .build();
        KafkaSink<Tuple2<String, Long>> counts = KafkaSink.<Tuple2<String, Long>>builder()
                .setBootstrapServers(bootstrap)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix("words")
                .setProperty("transaction.timeout.ms", "60000")
                .setRecordSerializer(new ToCounts())
                .build();
        environment.fromSource(lines, WatermarkStrategy.noWatermarks(), "lines").uid("lines")
                .flatMap((String line, Collector<String> words) -> {
                    for (String word : line.split(" ")) {
                        words.collect(word);
                    }
                }).returns(Types.STRING).uid("words")
                .keyBy(word -> word)
                .process(new Count()).uid("count")
                .sinkTo(counts).uid("counts");
        return environment.executeAsync("words");
    }

    /** Waits until the job, whose checkpoints come there, has made one. */
    private static void awaitCheckpoint(Path directory) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(WITHIN_S);
        while (newest(directory).isEmpty()) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("no checkpoint within " + WITHIN_S + " s");
            }
            Thread.sleep(20);
        }
    }

    /** The newest whole checkpoint or savepoint. */
    private static Optional<Path> newest(Path directory) throws IOException {
        if (!Files.exists(directory)) {
            return Optional.empty();
        }
        try (var files = Files.walk(directory)) {
            return files.filter(file -> file.endsWith("_metadata"))
                    .max(Comparator.comparing(file -> file.toFile().lastModified()))
                    .map(Path::getParent);
        }
    }

    /** Tells each word's count, each time. */
    public static class Count extends KeyedProcessFunction<String, String, Tuple2<String, Long>> {
        private transient ValueState<Long> count;

        @Override
        public void open(OpenContext context) {
            count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
        }

        @Override
        public void processElement(String word, Context context, Collector<Tuple2<String, Long>> counts) throws Exception {
            Long before = count.value();
            count.update(before == null ? 1 : before + 1);
            counts.collect(Tuple2.of(word, count.value()));
        }
    }

    /** A record with the word as its key. */
    public static class ToCounts implements KafkaRecordSerializationSchema<Tuple2<String, Long>> {
        @Override
        public ProducerRecord<byte[], byte[]> serialize(Tuple2<String, Long> count, KafkaSinkContext context, Long timestamp) {
            byte[] key = count.f0.getBytes(StandardCharsets.UTF_8);
            return new ProducerRecord<>("counts", key, count.f1.toString().getBytes(StandardCharsets.UTF_8));
        }
    }
}
