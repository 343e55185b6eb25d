// What both JavaScript watchers share: they hold one WebSocket, print what it tells as JSON lines, and call beside it.
//   usage: URL ADDRESS; `ready` is printed once all subscriptions are agreed; they end when their standard input does
const [url, address] = process.argv.slice(2)
if (!address) {
  console.error('usage: URL ADDRESS')
  process.exit(2)
}

export { address, url }
// Of the two events that each transaction emits.
export const topic = `0x${(0x41).toString(16).padStart(64, '0')}`
// An account that always has something.
export const account = '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266'

const PAUSE_MS = 50

export const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
export const failed = (what, error) => say({ failed: `${what}: ${String(error?.message ?? error).slice(0, 400)}` })

// One call after the other until the input ends. None is tried again.
export async function callUntilTold(calls) {
  let ended = false
  process.stdin.on('end', () => (ended = true)).resume()
  let count = 0
  for (; !ended; count++) {
    const [what, call] = calls[count % calls.length]
    await call().catch((error) => failed(what, error))
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  say({ calls: count })
}
