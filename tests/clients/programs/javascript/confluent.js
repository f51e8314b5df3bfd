// @confluentinc/kafka-javascript does what the scenario says.
'use strict'

const { KafkaJS } = require('@confluentinc/kafka-javascript')
const { say, serve, record, sayRecord, signal, barrier, TRANSACTIONS } = require('./lines')

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

const [bootstrap, authority, username, password] = process.argv.slice(2)
const logger = {
  setLogLevel() {},
  namespace: () => logger,
  ...Object.fromEntries(['info', 'error', 'warn', 'debug'].map((level) => [level, (text) => console.error(level, text)])),
}
const kafka = new KafkaJS.Kafka({
  kafkaJS: {
    logger,
    brokers: bootstrap.split(','),
    ...(authority && { ssl: true, sasl: { mechanism: 'scram-sha-512', username, password } }),
  },
  ...(authority && { 'ssl.ca.location': authority }),
  'topic.metadata.refresh.interval.ms': 1000,
})

async function connected(client, work) {
  await client.connect()
  await work(client)
  await client.disconnect()
}

// How many records may wait for their acknowledgement while a broker is killed.
const WINDOW = 50

/** Keeps some records on their way, and says of each whether it was acknowledged. */
async function write(topic, codec, first, count) {
  const settings = { acks: -1, idempotent: true, compression: codec }
  await connected(kafka.producer({ kafkaJS: settings, 'linger.ms': 1 }), async (producer) => {
    let next = first
    const writer = async () => {
      while (next < first + count) {
        const number = next++
        try {
          await producer.send({ topic, messages: [record(number)] })
          say('acknowledged', number)
        } catch (error) {
          say('refused', number, error.message.replace(/\s+/g, ' '))
        }
      }
    }
    await Promise.all(Array.from({ length: WINDOW }, writer))
  })
}

/** A member that hands on what it reads until `enough`; then it commits, if it is to, and leaves when all have. */
async function member(options, topic, read, { enough, committed, seek }) {
  const consumer = kafka.consumer({ kafkaJS: { fromBeginning: true, autoCommit: false, ...options } })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic] })
  const next = new Map()
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      next.set(partition, String(BigInt(message.offset) + 1n))
      read(partition, message)
    },
  })
  if (seek) consumer.seek({ topic, ...seek })
  await enough
  if (committed) {
    await consumer.commitOffsets([...next].map(([partition, offset]) => ({ topic, partition, offset })))
    await committed()
  }
  await consumer.disconnect()
}

let lone = 0
/** The options of a group that nobody else is in. */
const alone = () => ({ groupId: `app-${process.pid}-${lone++}` })

serve({
  about() {
    say('version', require('@confluentinc/kafka-javascript/package.json').version)
    say('codecs', ...CODECS)
    say('can', 'create', 'idempotence', 'headers', 'groups', 'offsets', 'transactions', 'isolation')
  },

  async create(topic, partitions, replicas) {
    await connected(kafka.admin(), (admin) =>
      admin.createTopics({ topics: [{ topic, numPartitions: +partitions, replicationFactor: +replicas }] })
    )
  },

  async list() {
    await connected(kafka.admin(), async (admin) => {
      for (const topic of await admin.listTopics()) say('topic', topic)
    })
  },

  async produce(topic, codec, first, count) {
    await write(topic, codec, +first, +count)
  },

  async flood(topic, count) {
    await write(topic, 'none', 0, +count)
  },

  async consume(topic, groupId, count) {
    const [enough, fulfil] = signal()
    const committed = barrier(2)
    let left = +count
    const read = (number) => (partition, message) => {
      sayRecord(number, partition, message)
      if (--left === 0) fulfil()
    }
    await Promise.all([0, 1].map((number) => member({ groupId }, topic, read(number), { enough, committed })))
  },

  async offsets(topic, partition) {
    await connected(kafka.admin(), async (admin) => {
      const found = (await admin.fetchTopicOffsets(topic)).find((entry) => entry.partition === +partition)
      say('offsets', found.low, found.high)
    })
  },

  async seek(topic, partition, offset) {
    const [enough, fulfil] = signal()
    let found = false
    const read = (from, message) => {
      if (from !== +partition || found) return
      found = true
      sayRecord(0, from, message)
      fulfil()
    }
    await member(alone(), topic, read, { enough, seek: { partition: +partition, offset } })
  },

  async transact(topic) {
    await connected(kafka.producer({ kafkaJS: { transactionalId: 'confluent-javascript' } }), async (producer) => {
      for (const [keys, end] of TRANSACTIONS) {
        const transaction = await producer.transaction()
        await transaction.send({ topic, messages: keys.map((key) => ({ key, value: key })) })
        await transaction[end]()
      }
    })
  },

  async read(topic, isolation, last) {
    const [enough, fulfil] = signal()
    const read = (partition, message) => {
      sayRecord(0, partition, message)
      if (String(message.key) === last) fulfil()
    }
    await member({ ...alone(), readUncommitted: isolation === 'read_uncommitted' }, topic, read, { enough })
  },
})
