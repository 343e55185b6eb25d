// viem over TLS: calls over HTTPS, and over WSS calls and a subscription. URL is https://…; the authority is NODE_EXTRA_CA_CERTS'.
import { createPublicClient, defineChain, http, webSocket } from 'viem'
import { chainId, holds, rpcUrl, run, same } from './common.mjs'

const chain = defineChain({
  id: chainId,
  name: 'test',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [rpcUrl] } },
})
const overHttps = createPublicClient({ chain, transport: http(rpcUrl, { retryCount: 0 }), cacheTime: 0 })
const socketUrl = rpcUrl.replace(/^https/, 'wss')
const socket = webSocket(socketUrl, { reconnect: false, retryCount: 0 })
const overWss = createPublicClient({ chain, transport: socket, cacheTime: 0 })

async function calls() {
  for (const client of [overHttps, overWss]) {
    same(await client.getChainId(), chainId, 'eth_chainId')
    holds((await client.getBlockNumber()) >= 0n, 'eth_blockNumber')
  }
}

async function subscription() {
  const head = await new Promise((resolve, reject) => {
    overWss.transport.subscribe({ params: ['newHeads'], onData: ({ result }) => resolve(result), onError: reject })
      .then(() => overHttps.request({ method: 'evm_mine', params: [] })).catch(reject)
  })
  holds(/^0x[0-9a-f]{64}$/.test(head.hash), 'a head')
}

await run('viem over TLS', { calls, subscription })
process.exit(0)
