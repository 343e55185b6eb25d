// viem on one WebSocket: raw heads, blocks by watchBlocks (which reads each block that it is told of), logs, calls.
import { createPublicClient, defineChain, webSocket } from 'viem'
import { account, address, callUntilTold, failed, say, url } from './watch.mjs'

const SUBSCRIPTIONS = 3

const chain = defineChain({
  id: 31337,
  name: 'test',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [] } },
})
// A client that connects or tries again would hide what we look for.
const socket = webSocket(url, { reconnect: false, keepAlive: false, retryCount: 0, timeout: 30_000 })
let agreed = 0
// The watchers do not tell when a subscription is agreed; what they call does.
const transport = (options) => {
  const made = socket(options)
  const { subscribe } = made.value
  made.value.subscribe = async (wanted) => {
    const subscription = await subscribe(wanted)
    if (++agreed === SUBSCRIPTIONS) say({ ready: true })
    return subscription
  }
  return made
}
const client = createPublicClient({ chain, transport, cacheTime: 0 })
const onError = (error) => say({ closed: String(error?.message ?? error).slice(0, 400) })

await client.transport.subscribe({
  params: ['newHeads'],
  onData: ({ result }) => say({ head: { number: Number(result.number), hash: result.hash, parent: result.parentHash } }),
  onError,
})
client.watchBlocks({
  onBlock: (block) => (block ? say({ block: Number(block.number) }) : failed('watchBlocks', 'no block')),
  onError,
})
client.watchEvent({
  address,
  onLogs: (logs) => logs.forEach((log) => say({
    log: { block: log.blockHash, number: Number(log.blockNumber), index: log.logIndex, removed: log.removed },
  })),
  onError,
})
const { socket: raw } = await client.transport.getRpcClient()
raw.addEventListener('close', ({ code, reason }) => say({ closed: `${code} ${reason}` }))

await callUntilTold([
  ['eth_blockNumber', () => client.getBlockNumber()],
  ['eth_getBalance', () => client.getBalance({ address: account })],
  ['eth_getBlockByNumber', () => client.getBlock()],
])
process.exit(0)
