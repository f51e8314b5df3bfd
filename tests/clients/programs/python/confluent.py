"""confluent-kafka does what the scenario says."""

import os
import threading

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import lines
from lines import Countdown, say

WITHIN = 60
access = lines.Access()


def config(**more):
    settings = {"bootstrap.servers": access.bootstrap, "topic.metadata.refresh.interval.ms": 1000}
    if access.user:
        settings |= {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": access.authority,
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": access.user,
            "sasl.password": access.password,
        }
    return settings | {name.replace("_", "."): setting for name, setting in more.items()}


def consumer(**more):
    lone = {"group_id": f"app-{os.getpid()}", "auto_offset_reset": "earliest", "enable_auto_commit": False}
    return Consumer(config(**(lone | more)))


def about():
    say("version", confluent_kafka.__version__)
    say("codecs", *lines.CODECS)
    say("can create idempotence headers groups offsets transactions isolation")


def create(topic, partitions, replicas):
    topics = [NewTopic(topic, num_partitions=int(partitions), replication_factor=int(replicas))]
    admin = AdminClient(config())
    admin.create_topics(topics)[topic].result(WITHIN)


def list_topics():
    for topic in AdminClient(config()).list_topics(timeout=WITHIN).topics:
        say("topic", topic)


def write(topic, codec, first, count):
    """Keeps some records on their way, and says of each whether it was acknowledged."""
    producer = Producer(config(enable_idempotence=True, compression_type=codec, linger_ms=1))
    for number in range(first, first + count):
        while len(producer) >= lines.WINDOW:
            producer.poll(0.1)
        producer.produce(
            topic,
            key=lines.key(number),
            value=lines.value(number),
            headers=lines.headers(number),
            on_delivery=lambda error, _, number=number: lines.say_outcome(number, error),
        )
    left = producer.flush(WITHIN)
    if left:
        raise TimeoutError(f"{left} records are not settled")


def say_record(member, record):
    lines.say_record(
        member, record.partition(), record.offset(), record.key(), record.value(), record.headers()
    )


def polled(reading):
    """The next record, if one came."""
    record = reading.poll(0.1)
    if record is not None and record.error():
        raise KafkaException(record.error())
    return record


def consume(topic, group, count):
    countdown = Countdown(int(count))
    # Nobody leaves before all have committed, or the others would be in a rebalance while they do.
    committed = threading.Barrier(2, timeout=WITHIN)

    def member(number):
        reading = consumer(group_id=group)
        reading.subscribe([topic])
        while not countdown.enough.is_set():
            if record := polled(reading):
                say_record(number, record)
                countdown.count()
        reading.commit(asynchronous=False)
        committed.wait()
        reading.close()

    lines.in_threads(member, range(2))


def offsets(topic, partition):
    reading = consumer()
    say("offsets", *reading.get_watermark_offsets(TopicPartition(topic, int(partition)), timeout=WITHIN))
    reading.close()


def seek(topic, partition, offset):
    reading = consumer()
    reading.assign([TopicPartition(topic, int(partition), OFFSET_BEGINNING)])
    while polled(reading) is None:
        pass
    reading.seek(TopicPartition(topic, int(partition), int(offset)))
    while (record := polled(reading)) is None:
        pass
    say_record(0, record)
    reading.close()


def transact(topic):
    producer = Producer(config(transactional_id="confluent-kafka"))
    producer.init_transactions(WITHIN)
    for keys, commit in lines.TRANSACTIONS:
        producer.begin_transaction()
        for key in keys:
            producer.produce(topic, key=key, value=key)
        producer.flush(WITHIN)
        (producer.commit_transaction if commit else producer.abort_transaction)(WITHIN)


def read(topic, isolation, last):
    reading = consumer(isolation_level=isolation)
    reading.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    record = None
    while record is None or record.key().decode() != last:
        if record := polled(reading):
            say_record(0, record)
    reading.close()


lines.serve(
    {
        "about": about,
        "create": create,
        "list": list_topics,
        "produce": lines.produce(write),
        "flood": lines.flood(write),
        "consume": consume,
        "offsets": offsets,
        "seek": seek,
        "transact": transact,
        "read": read,
    }
)
