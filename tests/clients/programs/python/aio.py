"""aiokafka does what the scenario says."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import lines
from lines import say

access = lines.Access()


def config(**more):
    settings = {"bootstrap_servers": access.bootstrap}
    if access.user:
        settings |= {
            "security_protocol": "SASL_SSL",
            "ssl_context": ssl.create_default_context(cafile=access.authority),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": access.user,
            "sasl_plain_password": access.password,
        }
    return settings | more


@asynccontextmanager
async def started(client):
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def admin():
    client = AIOKafkaAdminClient(**config())
    await client.start()
    try:
        yield client
    finally:
        await client.close()


def consumer(*topics, **more):
    return started(
        AIOKafkaConsumer(*topics, **config(auto_offset_reset="earliest", enable_auto_commit=False, **more))
    )


async def about():
    say("version", aiokafka.__version__)
    say("codecs", *lines.CODECS)
    say("can create idempotence headers groups offsets transactions isolation")


async def create(topic, partitions, replicas):
    async with admin() as client:
        await client.create_topics([NewTopic(topic, int(partitions), int(replicas))])


async def list_topics():
    async with admin() as client:
        for topic in await client.list_topics():
            say("topic", topic)


async def write(topic, codec, first, count):
    """Keeps some records on their way, and says of each whether it was acknowledged."""
    window = asyncio.Semaphore(lines.WINDOW)
    settings = config(enable_idempotence=True, compression_type=None if codec == "none" else codec)
    async with started(AIOKafkaProducer(**settings)) as producer:

        def settle(number, sent):
            lines.say_outcome(number, sent.exception())
            window.release()

        for number in range(first, first + count):
            await window.acquire()
            sent = await producer.send(
                topic, key=lines.key(number), value=lines.value(number), headers=lines.headers(number)
            )
            sent.add_done_callback(lambda sent, number=number: settle(number, sent))
        await producer.flush()


def say_record(member, record):
    lines.say_record(member, record.partition, record.offset, record.key, record.value, record.headers)


async def consume(topic, group, count):
    left = int(count)
    enough = asyncio.Event()
    # Nobody leaves before all have committed, or the others would be in a rebalance while they do.
    committed = asyncio.Barrier(2)

    async def member(number):
        nonlocal left
        async with consumer(topic, group_id=group) as reading:
            while not enough.is_set():
                for records in (await reading.getmany(timeout_ms=100)).values():
                    for record in records:
                        say_record(number, record)
                        left -= 1
                        if left == 0:
                            enough.set()
            await reading.commit()
            await committed.wait()

    await asyncio.gather(member(0), member(1))


async def offsets(topic, partition):
    place = TopicPartition(topic, int(partition))
    async with consumer() as reading:
        starts = await reading.beginning_offsets([place])
        ends = await reading.end_offsets([place])
    say("offsets", starts[place], ends[place])


async def seek(topic, partition, offset):
    place = TopicPartition(topic, int(partition))
    async with consumer() as reading:
        reading.assign([place])
        reading.seek(place, int(offset))
        say_record(0, await reading.getone())


async def transact(topic):
    async with started(AIOKafkaProducer(**config(transactional_id="aiokafka"))) as producer:
        for keys, commit in lines.TRANSACTIONS:
            await producer.begin_transaction()
            for key in keys:
                await producer.send_and_wait(topic, key=key.encode(), value=key.encode())
            await (producer.commit_transaction if commit else producer.abort_transaction)()


async def read(topic, isolation, last):
    place = TopicPartition(topic, 0)
    async with consumer(isolation_level=isolation) as reading:
        reading.assign([place])
        await reading.seek_to_beginning(place)
        async for record in reading:
            say_record(0, record)
            if record.key.decode() == last:
                return


def run(command):
    return lambda *words: asyncio.run(command(*words))


lines.serve(
    {
        "about": run(about),
        "create": run(create),
        "list": run(list_topics),
        "produce": lines.produce(run(write)),
        "flood": lines.flood(run(write)),
        "consume": run(consume),
        "offsets": run(offsets),
        "seek": run(seek),
        "transact": run(transact),
        "read": run(read),
    }
)
