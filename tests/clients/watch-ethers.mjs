// ethers on one WebSocket: raw heads, `block` events, one of the two events that transactions emit, calls.
import { Network, SocketEventSubscriber, SocketSubscriber, WebSocketProvider } from 'ethers'
import { account, address, callUntilTold, say, topic, url } from './watch.mjs'

const SUBSCRIPTIONS = 3
let agreed = 0

const tellLog = (log) => say({
  log: { block: log.blockHash, number: log.blockNumber, index: log.index, removed: log.removed },
})

class Provider extends WebSocketProvider {
  _getSubscriber(wanted) {
    return wanted.type === 'event' ? new Logs(this, wanted.filter) : super._getSubscriber(wanted)
  }

  _register(id, subscriber) {
    super._register(id, subscriber)
    if (++agreed === SUBSCRIPTIONS) say({ ready: true })
  }
}
// A log that is taken back is kept from those who listen to logs, and told to who asks for that very log's end.
class Logs extends SocketEventSubscriber {
  async _emit(provider, log) {
    if (!log.removed) return super._emit(provider, log)
    // What was emitted before is on its way to its listener.
    await new Promise(setImmediate)
    tellLog(provider._wrapLog(log, provider._network))
  }
}
// A `block` event is a number and nothing else.
class Heads extends SocketSubscriber {
  async _emit(_, head) {
    say({ head: { number: Number(head.number), hash: head.hash, parent: head.parentHash } })
  }
}

const provider = new Provider(url, Network.from(31337), { staticNetwork: true, cacheTimeout: -1 })
provider.websocket.onclose = ({ code, reason }) => say({ closed: `${code} ${reason}` })
provider.websocket.onerror = (error) => say({ closed: String(error.message) })
provider.on('error', (error) => say({ closed: String(error.message) }))
new Heads(provider, ['newHeads']).start()
await provider.on('block', (number) => say({ block: number }))
await provider.on({ address, topics: [topic] }, tellLog)

await callUntilTold([
  ['eth_blockNumber', () => provider.send('eth_blockNumber', [])],
  ['eth_getBalance', () => provider.getBalance(account)],
  ['eth_getBlockByNumber', () => provider.send('eth_getBlockByNumber', ['latest', false])],
])
process.exit(0)
