// A Java producer that pushes its metrics (KIP-714), told what to do on its standard input. Started as a single file, with Kafka's libraries.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Telemetry {
    public static void main(String[] args) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", args[0], "client.id", args[1]);
        KafkaProducer<String, String> producer =
                new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "id" -> System.out.println(producer.clientInstanceId(Duration.ofSeconds(60)));
                case "send" -> send(producer, words[1], Integer.parseInt(words[2]));
                case "close" -> producer.close(Duration.ofSeconds(60));
                default -> throw new IllegalArgumentException(line);
            }
            System.out.println("done");
        }
    }

    private static void send(KafkaProducer<String, String> producer, String topic, int count) throws Exception {
        for (int number = 0; number < count; number++) {
            producer.send(new ProducerRecord<>(topic, String.valueOf(number))).get();
        }
    }
}
