// A topology of Storm that copies lines from topic to topic, each at least once. Told what to do on its standard input, a line a command; each
// command's answers end with `done` or `failed WHY`. Arguments: BOOTSTRAP.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Properties;
import org.apache.storm.Config;
import org.apache.storm.LocalCluster;
import org.apache.storm.kafka.bolt.KafkaBolt;
import org.apache.storm.kafka.bolt.mapper.FieldNameBasedTupleToKafkaMapper;
import org.apache.storm.kafka.spout.FirstPollOffsetStrategy;
import org.apache.storm.kafka.spout.KafkaSpout;
import org.apache.storm.kafka.spout.KafkaSpoutConfig;
import org.apache.storm.topology.TopologyBuilder;

public class Copy {
    public static void main(String[] args) throws Exception {
        LocalCluster cluster = new LocalCluster();
        Config config = new Config();
        config.setNumAckers(1);
        config.setMaxSpoutPending(1_000);
        cluster.submitTopology("copy", config, topology(args[0]).createTopology());
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            try {
                switch (command) {
                    case "stop" -> cluster.close();
                    default -> throw new IllegalArgumentException(command);
                }
                System.out.println("done");
            } catch (Exception error) {
                System.out.println("failed " + error);
            }
        }
    }

    private static TopologyBuilder topology(String bootstrap) {
        KafkaSpoutConfig<String, String> lines = KafkaSpoutConfig.builder(bootstrap, "lines")
                .setProp("group.id", "storm")
                .setFirstPollOffsetStrategy(FirstPollOffsetStrategy.UNCOMMITTED_EARLIEST)
                .setOffsetCommitPeriodMs(500)
                .build();
        Properties producer = new Properties();
        producer.put("bootstrap.servers", bootstrap);
        producer.put("acks", "all");
        producer.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        producer.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        KafkaBolt<String, String> copies = new KafkaBolt<String, String>()
                .withProducerProperties(producer)
                .withTopicSelector("copies")
                .withTupleToKafkaMapper(new FieldNameBasedTupleToKafkaMapper<>("key", "value"));
        TopologyBuilder builder = new TopologyBuilder();
        builder.setSpout("lines", new KafkaSpout<>(lines), 1);
        builder.setBolt("copies", copies, 1).shuffleGrouping("lines");
        return builder;
    }
}
