// kafkajs does what the scenario says.
'use strict'

const fs = require('node:fs')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const { say, serve, record, sayRecord, signal, barrier, TRANSACTIONS } = require('./lines')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

const [bootstrap, authority, username, password] = process.argv.slice(2)
const kafka = new Kafka({
  clientId: 'kafkajs',
  brokers: bootstrap.split(','),
  logLevel: logLevel.INFO,
  logCreator: () => ({ namespace, log }) => console.error(namespace, JSON.stringify(log)),
  ...(authority && {
    ssl: { ca: [fs.readFileSync(authority, 'utf8')] },
    sasl: { mechanism: 'scram-sha-512', username, password },
  }),
})

/** Hands numbers in tens to `send`, one ten after the other; it says of each whether it was acknowledged, and gives back which to send again. */
async function write(first, count, send) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const numbers = Array.from({ length: count }, (_, index) => first + index)
  while (numbers.length > 0) {
    const sent = numbers.splice(0, 10)
    try {
      numbers.unshift(...(await send(producer, sent)))
    } catch (error) {
      sent.forEach((number) => say('refused', number, error.message.replace(/\s+/g, ' ')))
    }
  }
  await producer.disconnect()
}

/** A member that hands on what it reads until `enough`; then it commits, if it is to, and leaves when all have. */
async function member(options, topic, read, { enough, committed, seek }) {
  const consumer = kafka.consumer({ maxWaitTimeInMs: 200, ...options })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const next = new Map()
  const failed = new Promise((_, reject) => consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error)))
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      next.set(partition, String(BigInt(message.offset) + 1n))
      read(partition, message)
    },
  })
  if (seek) consumer.seek({ topic, ...seek })
  await Promise.race([enough, failed])
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
    say('version', require('kafkajs/package.json').version)
    say('codecs', ...Object.keys(CODECS))
    say('can', 'create', 'idempotence', 'headers', 'groups', 'offsets', 'transactions', 'isolation')
  },

  async create(topic, partitions, replicas) {
    const admin = kafka.admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic, numPartitions: +partitions, replicationFactor: +replicas }] })
    await admin.disconnect()
  },

  async list() {
    const admin = kafka.admin()
    await admin.connect()
    for (const topic of await admin.listTopics()) say('topic', topic)
    await admin.disconnect()
  },

  async produce(topic, codec, first, count) {
    await write(+first, +count, async (producer, numbers) => {
      await producer.send({ topic, acks: -1, compression: CODECS[codec], messages: numbers.map(record) })
      numbers.forEach((number) => say('acknowledged', number))
      return []
    })
  },

  /**
   * When a leader dies, kafkajs 2.2.4 forgets those of its records whose next leader has already answered the same send, and fulfils the
   * promise without an answer for their partition. An application has to look, and to send them again.
   */
  async flood(topic, count) {
    const partition = (number) => number % 3
    await write(0, +count, async (producer, numbers) => {
      const messages = numbers.map((number) => ({ ...record(number), partition: partition(number) }))
      const answers = await producer.send({ topic, acks: -1, messages })
      const answered = new Set(answers.map((answer) => answer.partition))
      numbers.filter((number) => answered.has(partition(number))).forEach((number) => say('acknowledged', number))
      return numbers.filter((number) => !answered.has(partition(number)))
    })
  },

  async consume(topic, groupId, count) {
    const [enough, fulfil] = signal()
    let left = +count
    const read = (number) => (partition, message) => {
      sayRecord(number, partition, message)
      if (--left === 0) fulfil()
    }
    const committed = barrier(2)
    await Promise.all([0, 1].map((number) => member({ groupId }, topic, read(number), { enough, committed })))
  },

  async offsets(topic, partition) {
    const admin = kafka.admin()
    await admin.connect()
    const found = (await admin.fetchTopicOffsets(topic)).find((entry) => entry.partition === +partition)
    say('offsets', found.low, found.high)
    await admin.disconnect()
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
    const producer = kafka.producer({ transactionalId: 'kafkajs', idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (const [keys, end] of TRANSACTIONS) {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: keys.map((key) => ({ key, value: key })) })
      await transaction[end]()
    }
    await producer.disconnect()
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
