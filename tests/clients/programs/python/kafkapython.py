"""kafka-python does what the scenario says."""

import threading

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

import lines
from lines import Countdown, say

WITHIN = 60
access = lines.Access()


def config(**more):
    settings = {"bootstrap_servers": access.bootstrap.split(",")}
    if access.user:
        settings |= {
            "security_protocol": "SASL_SSL",
            "ssl_cafile": access.authority,
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": access.user,
            "sasl_plain_password": access.password,
        }
    return settings | more


def consumer(**more):
    return KafkaConsumer(**config(auto_offset_reset="earliest", enable_auto_commit=False, **more))


def about():
    say("version", kafka.__version__)
    say("codecs", *lines.CODECS)
    say("can create idempotence headers groups offsets transactions isolation")


def create(topic, partitions, replicas):
    admin = KafkaAdminClient(**config())
    admin.create_topics({topic: {"num_partitions": int(partitions), "replication_factor": int(replicas)}})
    admin.close()


def list_topics():
    admin = KafkaAdminClient(**config())
    for topic in admin.list_topics():
        say("topic", topic)
    admin.close()


def write(topic, codec, first, count):
    """Keeps some records on their way, and says of each whether it was acknowledged."""
    producer = KafkaProducer(
        **config(acks="all", enable_idempotence=True, compression_type=None if codec == "none" else codec)
    )
    window = threading.BoundedSemaphore(lines.WINDOW)

    def settle(number, error):
        lines.say_outcome(number, error)
        window.release()

    for number in range(first, first + count):
        window.acquire()
        future = producer.send(
            topic, key=lines.key(number), value=lines.value(number), headers=lines.headers(number)
        )
        future.add_callback(lambda _, number=number: settle(number, None))
        future.add_errback(lambda error, number=number: settle(number, error))
    producer.flush(WITHIN)
    producer.close()


def say_record(member, record):
    lines.say_record(member, record.partition, record.offset, record.key, record.value, record.headers)


def polled(reading, **more):
    """The records that came."""
    return [record for batch in reading.poll(timeout_ms=100, **more).values() for record in batch]


def consume(topic, group, count):
    countdown = Countdown(int(count))
    # Nobody leaves before all have committed, or the others would be in a rebalance while they do.
    committed = threading.Barrier(2, timeout=WITHIN)

    def member(number):
        reading = consumer(group_id=group)
        reading.subscribe([topic])
        while not countdown.enough.is_set():
            for record in polled(reading):
                say_record(number, record)
                countdown.count()
        reading.commit()
        committed.wait()
        reading.close()

    lines.in_threads(member, range(2))


def offsets(topic, partition):
    reading = consumer()
    place = TopicPartition(topic, int(partition))
    say("offsets", reading.beginning_offsets([place])[place], reading.end_offsets([place])[place])
    reading.close()


def seek(topic, partition, offset):
    reading = consumer()
    place = TopicPartition(topic, int(partition))
    reading.assign([place])
    reading.seek(place, int(offset))
    while not (records := polled(reading, max_records=1)):
        pass
    say_record(0, records[0])
    reading.close()


def transact(topic):
    producer = KafkaProducer(**config(transactional_id="kafka-python"))
    producer.init_transactions()
    for keys, commit in lines.TRANSACTIONS:
        producer.begin_transaction()
        for key in keys:
            producer.send(topic, key=key.encode(), value=key.encode())
        producer.flush(WITHIN)
        (producer.commit_transaction if commit else producer.abort_transaction)()
    producer.close()


def read(topic, isolation, last):
    reading = consumer(isolation_level=isolation)
    reading.assign([TopicPartition(topic, 0)])
    reading.seek_to_beginning()
    key = None
    while key != last:
        for record in polled(reading):
            say_record(0, record)
            key = record.key.decode()
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
