"""Queries of Spark Structured Streaming that go on from their checkpoints: one copies lines and one counts their words, both from topic to topic;
or, where a place for files is told, one writes lines there.

Told what to do on its standard input, a line a command; each command's answers end with `done` or `failed WHY`. Arguments: BOOTSTRAP DIRECTORY
CLASSPATH [PLACE]; the class path is that of the connector to Kafka.
"""

import sys
import threading

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, explode, split

PAUSE = "500 milliseconds"


def session(directory, classpath):
    """A cluster in this process's JVM, that speaks to nobody but Kafka."""
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraClassPath": classpath,
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={directory}",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.local.dir": directory,
        "spark.sql.shuffle.partitions": "3",
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("words")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def read_lines(spark, bootstrap):
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap)
        .option("subscribe", "lines")
        .option("startingOffsets", "earliest")
        .load()
        .select(col("value").cast("string").alias("value"))
    )


def start_to_topics(lines, bootstrap, directory):
    words = lines.select(explode(split("value", " ")).alias("key"))
    counts = words.groupBy("key").count().select("key", col("count").cast("string").alias("value"))
    outputs = [("copies", lines, "append"), ("counts", counts, "update")]
    return [
        output.writeStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap)
        .option("topic", topic)
        .option("checkpointLocation", f"{directory}/{topic}")
        .outputMode(mode)
        .trigger(processingTime=PAUSE)
        .start()
        for topic, output, mode in outputs
    ]


def start_to_files(spark, lines, place):
    jvm, config = spark.sparkContext._jvm, spark.sparkContext._jsc.hadoopConfiguration()
    path = jvm.org.apache.hadoop.fs.Path(f"{place}/lines")
    # So that it can be read before anything was written.
    path.getFileSystem(config).mkdirs(path)
    query = (
        lines.writeStream.format("text")
        .option("path", f"{place}/lines")
        .option("checkpointLocation", f"{place}/checkpoint")
        .trigger(processingTime=PAUSE)
        .start()
    )
    return [query]


def answer(command, spark, queries, place):
    for query in queries:
        if query.exception() is not None:
            raise query.exception()
    match command:
        case "pid":
            jvm = spark.sparkContext._jvm
            print("pid", jvm.java.lang.ProcessHandle.current().pid())
        case "lines":
            for row in spark.read.text(f"{place}/lines").groupBy("value").count().collect():
                print("line", row["count"], row["value"])
        case "stop":
            for query in queries:
                query.stop()
        case _:
            raise ValueError(command)


def main():
    bootstrap, directory, classpath, *places = sys.argv[1:]
    spark = session(directory, classpath)
    lines = read_lines(spark, bootstrap)
    place = places[0] if places else None
    queries = start_to_files(spark, lines, place) if place else start_to_topics(lines, bootstrap, directory)
    for query in queries:
        # What ends a query is told at once where complaints go.
        threading.Thread(target=query.awaitTermination, daemon=True).start()
    for line in sys.stdin:
        try:
            answer(line.strip(), spark, queries, place)
            print("done", flush=True)
        except Exception as error:  # Whatever it is, the test is told.
            print("failed", repr(error).replace("\n", " "), flush=True)


main()
