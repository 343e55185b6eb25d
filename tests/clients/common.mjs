// What both JavaScript clients share: arguments, checks, the contract, and the loop that counts failures.
import { readFileSync } from 'node:fs'

const [url, ...rest] = process.argv.slice(2)
if (!url) {
  console.error('usage: URL [--chain ID] [--loop SECONDS]')
  process.exit(2)
}
const option = (name, fallback) => (rest.includes(name) ? Number(rest[rest.indexOf(name) + 1]) : fallback)

export const rpcUrl = url
export const chainId = option('--chain', 31337)
export const loopSeconds = option('--loop', 0)
export const probe = JSON.parse(readFileSync(new URL('probe.json', import.meta.url)))

// Accounts of Anvil's own well-known mnemonic; one a client, so that their nonces do not meet.
export const keys = {
  viem: '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  ethers: '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
}

// abi-encoded Refused(7, "not today"): what a reverting call must bring back, byte for byte.
export const refusedData =
  '0xa85e02ba' +
  '0000000000000000000000000000000000000000000000000000000000000007' +
  '0000000000000000000000000000000000000000000000000000000000000040' +
  '0000000000000000000000000000000000000000000000000000000000000009' +
  '6e6f7420746f6461790000000000000000000000000000000000000000000000'

export function same(actual, expected, what) {
  const show = (value) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v))
  if (show(actual) !== show(expected)) throw new Error(`${what}: ${show(actual)} instead of ${show(expected)}`)
}

export function holds(condition, what) {
  if (!condition) throw new Error(what)
}

// Asks until there is something; for what a chain does in its own time.
export async function eventually(what, probe) {
  const end = Date.now() + 20_000
  for (;;) {
    const found = await probe()
    if (found) return found
    if (Date.now() > end) throw new Error(`waited for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// Runs the steps in order, says which failed, and sets the exit status.
export async function run(name, steps) {
  for (const [what, step] of Object.entries(steps)) {
    try {
      await step()
      console.log(`${name}: ${what}: ok`)
    } catch (error) {
      console.error(`${name}: ${what}: ${error.stack ?? error}`)
      process.exit(1)
    }
  }
}

// Makes calls in turn, `width` at a time, for so many seconds. Every failure counts; none is tried again.
export async function loop(name, seconds, width, calls) {
  const end = Date.now() + seconds * 1000
  const count = { calls: 0, failures: 0, slowest_ms: 0 }
  const reasons = {}
  const worker = async (offset) => {
    for (let i = offset; Date.now() < end; i++) {
      const [what, call] = calls[i % calls.length]
      const start = performance.now()
      try {
        await call()
      } catch (error) {
        count.failures++
        const reason = `${what}: ${String(error.message ?? error).slice(0, 400)}`
        reasons[reason] = (reasons[reason] ?? 0) + 1
      }
      count.calls++
      count.slowest_ms = Math.max(count.slowest_ms, Math.round(performance.now() - start))
    }
  }
  await Promise.all(Array.from({ length: width }, (_, i) => worker(i)))
  console.log(JSON.stringify({ client: name, ...count, reasons }))
  process.exit(count.failures === 0 && count.calls > 0 ? 0 : 1)
}
