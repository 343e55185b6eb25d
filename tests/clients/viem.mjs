// viem against a node: reads, a mined transaction, a contract, logs, filters, batches, reverts.
import { BaseError, createPublicClient, createWalletClient, defineChain, http, parseAbiItem, parseEther } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { chainId, eventually, holds, keys, loop, loopSeconds, probe, refusedData, rpcUrl, run, same } from './common.mjs'

const chain = defineChain({
  id: chainId,
  name: 'test',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [rpcUrl] } },
})
// A client that tries again would hide what we look for.
const transport = http(rpcUrl, { retryCount: 0, timeout: 30_000 })
const options = { chain, transport, pollingInterval: 50, cacheTime: 0 }
const client = createPublicClient(options)
const batching = createPublicClient({ ...options, transport: http(rpcUrl, { retryCount: 0, batch: { batchSize: 50 } }) })
const account = privateKeyToAccount(keys.viem)
const wallet = createWalletClient({ ...options, account })
const other = '0x00000000000000000000000000000000000000a1'
const noted = parseAbiItem('event Noted(address indexed who, uint256 value)')
let address

const mined = async (hash) => {
  const receipt = await client.waitForTransactionReceipt({ hash })
  same(receipt.status, 'success', 'status of the receipt')
  return receipt
}
const note = async (value) => mined(await wallet.writeContract({ address, abi: probe.abi, functionName: 'note', args: [value] }))

async function reads() {
  same(await client.getChainId(), chainId, 'eth_chainId')
  holds((await client.getBlockNumber()) >= 0n, 'eth_blockNumber')
  holds((await client.getBalance({ address: account.address })) > parseEther('100'), 'eth_getBalance')
  holds((await client.getGasPrice()) > 0n, 'eth_gasPrice')
  same((await client.getBlock({ blockNumber: 0n })).number, 0n, 'eth_getBlockByNumber')
  same(await client.getCode({ address: other }), undefined, 'eth_getCode')
  holds((await client.getFeeHistory({ blockCount: 1, rewardPercentiles: [50] })).baseFeePerGas.length > 0, 'eth_feeHistory')
}

async function transfer() {
  const before = await client.getBalance({ address: other })
  const hash = await wallet.sendTransaction({ to: other, value: 12345n })
  const receipt = await mined(hash)
  same(receipt.transactionHash, hash, 'hash of the receipt')
  same((await client.getBalance({ address: other })) - before, 12345n, 'balance after the transfer')
  same((await client.getTransaction({ hash })).value, 12345n, 'eth_getTransactionByHash')
}

async function contract() {
  const receipt = await mined(await wallet.deployContract({ abi: probe.abi, bytecode: probe.bytecode }))
  address = receipt.contractAddress
  await note(42n)
  same(await client.readContract({ address, abi: probe.abi, functionName: 'last' }), 42n, 'eth_call')
}

async function logs() {
  const found = await client.getLogs({ address, event: noted, fromBlock: 0n })
  same(found.map((log) => [log.args.who, log.args.value]), [[account.address, 42n]], 'eth_getLogs')
}

async function filters() {
  const events = await client.createEventFilter({ address, event: noted })
  const blocks = await client.createBlockFilter()
  await note(43n)
  const changes = await eventually('the event', async () => {
    const logs = await client.getFilterChanges({ filter: events })
    return logs.length > 0 && logs
  })
  same(changes.map((log) => log.args.value), [43n], 'eth_getFilterChanges')
  same(await client.getFilterChanges({ filter: events }), [], 'eth_getFilterChanges when nothing happened')
  holds((await client.getFilterChanges({ filter: blocks })).length > 0, 'eth_newBlockFilter')
  // From the first block: without one, Anvil looks into the newest block only, and that may be another client's.
  const all = await client.createEventFilter({ address, event: noted, fromBlock: 0n })
  same((await client.getFilterLogs({ filter: all })).map((log) => log.args.value), [42n, 43n], 'eth_getFilterLogs')
  same(await client.uninstallFilter({ filter: events }), true, 'eth_uninstallFilter')
  const gone = await client.getFilterChanges({ filter: events }).then(() => null, (error) => error)
  holds(gone instanceof BaseError, 'a filter that is gone was answered')
}

async function watching() {
  const values = []
  const stop = client.watchContractEvent({ address, abi: probe.abi, eventName: 'Noted', onLogs: (l) => values.push(...l.map((x) => x.args.value)) })
  for (let value = 100n; values.length === 0 && value < 140n; value++) await note(value)
  stop()
  holds(values.length > 0, 'watchContractEvent saw nothing')
}

async function batches() {
  const numbers = Array.from({ length: 40 }, (_, i) => `0x${(i + 1).toString(16).padStart(40, '0')}`)
  const balances = await Promise.all(numbers.map((address) => batching.getBalance({ address })))
  const single = await Promise.all(numbers.map((address) => client.getBalance({ address })))
  same(balances, single, 'a batch beside single calls')
  const mixed = await Promise.allSettled([
    batching.getBlockNumber(),
    batching.readContract({ address, abi: probe.abi, functionName: 'refuse', args: [7n] }),
    batching.getChainId(),
  ])
  same(mixed.map((outcome) => outcome.status), ['fulfilled', 'rejected', 'fulfilled'], 'a batch with an error in it')
}

async function reverts() {
  const error = await client.readContract({ address, abi: probe.abi, functionName: 'refuse', args: [7n] }).then(() => null, (e) => e)
  const revert = error?.walk((e) => e.data?.errorName)
  same(revert?.data.errorName, 'Refused', 'name of the revert')
  same(revert?.data.args, [7n, 'not today'], 'arguments of the revert')
  same(error.walk((e) => typeof e.data === 'string')?.data, refusedData, 'revert data')
  const text = await client.readContract({ address, abi: probe.abi, functionName: 'refuseText' }).then(() => null, (e) => e)
  holds(text?.shortMessage.includes('plain words'), `revert text: ${text?.shortMessage}`)
  const estimate = await client.estimateContractGas({ address, abi: probe.abi, functionName: 'refuse', args: [7n], account }).then(() => null, (e) => e)
  same(estimate?.walk((e) => e.data?.errorName)?.data.errorName, 'Refused', 'revert of eth_estimateGas')
}

async function unknown() {
  const error = await client.request({ method: 'eth_thereIsNoSuchMethod', params: [] }).then(() => null, (e) => e)
  same(error?.walk((e) => e.code === -32601)?.code, -32601, 'an unknown method')
}

await run('viem', { reads, transfer, contract, ...(loopSeconds ? {} : { logs, filters, watching, batches, reverts, unknown }) })

if (loopSeconds) {
  let nonce = await client.getTransactionCount({ address: account.address })
  let writing = Promise.resolve()
  // Signed here and sent as bytes: a raw transaction may be sent twice, its hash names it. One after the other.
  const write = async () => {
    const serialized = await wallet.signTransaction(await wallet.prepareTransactionRequest({ to: other, value: 1n, nonce, gas: 21000n, type: 'eip1559', maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 1n }))
    const hash = await client.sendRawTransaction({ serializedTransaction: serialized })
    nonce++
    await eventually('the receipt', () => client.getTransactionReceipt({ hash }).catch((error) => {
      if (error.name === 'TransactionReceiptNotFoundError') return null
      throw error
    }))
  }
  const reverting = async () => {
    const error = await client.readContract({ address, abi: probe.abi, functionName: 'refuse', args: [7n] }).then(() => null, (e) => e)
    if (error?.walk((e) => typeof e.data === 'string')?.data !== refusedData) throw error ?? new Error('no revert')
  }
  await loop('viem', loopSeconds, 6, [
    ['eth_blockNumber', () => client.getBlockNumber()],
    ['eth_getBalance', () => client.getBalance({ address: other })],
    ['eth_call', async () => same(await client.readContract({ address, abi: probe.abi, functionName: 'last' }), 42n, 'last')],
    ['eth_getLogs', async () => same((await client.getLogs({ address, event: noted, fromBlock: 0n })).length, 1, 'logs')],
    ['revert', reverting],
    ['batch', () => Promise.all([1, 2, 3, 4, 5].map((i) => batching.getBalance({ address: `0x${i.toString().padStart(40, '0')}` })))],
    ['write', () => (writing = writing.catch(() => {}).then(write))],
  ])
}
process.exit(0)
