// Takes commands from the standard input, a line each, and answers a line at a time; `done` or `failed WHY` ends the answers.
'use strict'

const readline = require('node:readline')

const say = (...words) => process.stdout.write(words.join(' ') + '\n')

/** Does what each line says, one after the other, until the input ends. */
async function serve(commands) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, ...args] = line.split(' ')
    try {
      await commands[command](...args)
      say('done')
    } catch (error) {
      say('failed', String(error.stack || error).replace(/\s+/g, ' '))
    }
  }
  process.exit(0)
}

const padded = (number) => String(number).padStart(6, '0')

/** The record of a number. */
const record = (number) => ({
  key: `k-${padded(number)}`,
  value: `v-${padded(number)}-${'abcdefgh'.repeat(40)}`,
  headers: { number: padded(number) },
})

/** Says what a member read. */
function sayRecord(member, partition, { offset, key, value, headers }) {
  const entries = Object.entries(headers || {}).map(([name, text]) => `${name}=${text}`)
  say('record', member, partition, offset, key, value, entries.join(',') || '-')
}

// What to write in each transaction, and how it ends.
const TRANSACTIONS = [
  [['committed-0', 'committed-1', 'committed-2'], 'commit'],
  [['aborted-0', 'aborted-1', 'aborted-2'], 'abort'],
  [['last'], 'commit'],
]

/** A promise, and what fulfils it. */
function signal() {
  let fulfil
  const promise = new Promise((resolve) => (fulfil = resolve))
  return [promise, fulfil]
}

/** Fulfilled for all when so many have come. */
function barrier(parties) {
  const [all, fulfil] = signal()
  return () => {
    if (--parties === 0) fulfil()
    return all
  }
}

module.exports = { say, serve, record, sayRecord, signal, barrier, TRANSACTIONS }
