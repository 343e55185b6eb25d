// ethers against a node: reads, a mined transaction, a contract, logs, filters, batches, reverts.
import { Contract, ContractFactory, FetchRequest, JsonRpcProvider, Network, Wallet, isError, parseEther } from 'ethers'
import { chainId, eventually, holds, keys, loop, loopSeconds, probe, refusedData, rpcUrl, run, same } from './common.mjs'

// ethers sends calls of the same moment as one batch, unless told not to.
const connect = (batchMaxCount) => {
  const request = new FetchRequest(rpcUrl)
  request.setThrottleParams({ maxAttempts: 1 })
  const provider = new JsonRpcProvider(request, Network.from(chainId), { batchMaxCount, staticNetwork: true, cacheTimeout: -1 })
  provider.pollingInterval = 50
  return provider
}
const single = connect(1)
const batching = connect(100)
const wallet = new Wallet(keys.ethers, single)
const other = '0x00000000000000000000000000000000000000e1'
let contract

const mined = async (sent) => {
  const receipt = await sent.wait()
  same(receipt.status, 1, 'status of the receipt')
  return receipt
}
const failure = (promise) => promise.then(() => null, (error) => error)

async function reads() {
  same(Number((await single.send('eth_chainId', []))), chainId, 'eth_chainId')
  same(await single.send('net_version', []), String(chainId), 'net_version')
  holds((await single.getBlockNumber()) >= 0, 'eth_blockNumber')
  holds((await single.getBalance(wallet.address)) > parseEther('100'), 'eth_getBalance')
  holds((await single.getFeeData()).gasPrice > 0n, 'eth_gasPrice')
  same((await single.getBlock(0)).number, 0, 'eth_getBlockByNumber')
  same(await single.getCode(other), '0x', 'eth_getCode')
}

async function transfer() {
  const before = await single.getBalance(other)
  const sent = await wallet.sendTransaction({ to: other, value: 54321n })
  same((await mined(sent)).hash, sent.hash, 'hash of the receipt')
  same((await single.getBalance(other)) - before, 54321n, 'balance after the transfer')
  same((await single.getTransaction(sent.hash)).value, 54321n, 'eth_getTransactionByHash')
}

async function deploy() {
  contract = await new ContractFactory(probe.abi, probe.bytecode, wallet).deploy()
  await contract.waitForDeployment()
  await mined(await contract.note(42n))
  same(await contract.last(), 42n, 'eth_call')
}

async function logs() {
  const found = await contract.queryFilter('Noted', 0)
  same(found.map((log) => [log.args.who, log.args.value]), [[wallet.address, 42n]], 'eth_getLogs')
}

async function filters() {
  const address = await contract.getAddress()
  const events = await single.send('eth_newFilter', [{ address }])
  const blocks = await single.send('eth_newBlockFilter', [])
  const pending = await single.send('eth_newPendingTransactionFilter', [])
  await mined(await contract.note(43n))
  const changes = await eventually('the event', async () => {
    const logs = await single.send('eth_getFilterChanges', [events])
    return logs.length > 0 && logs
  })
  same(changes.map((log) => BigInt(log.data)), [43n], 'eth_getFilterChanges')
  holds((await single.send('eth_getFilterChanges', [blocks])).length > 0, 'eth_newBlockFilter')
  holds(Array.isArray(await single.send('eth_getFilterChanges', [pending])), 'eth_newPendingTransactionFilter')
  for (const id of [events, blocks, pending]) same(await single.send('eth_uninstallFilter', [id]), true, 'eth_uninstallFilter')
  holds((await failure(single.send('eth_getFilterChanges', [events]))) !== null, 'a filter that is gone was answered')
}

async function watching() {
  const values = []
  await contract.on('Noted', (_, value) => values.push(value))
  for (let value = 100n; values.length === 0 && value < 140n; value++) await mined(await contract.note(value))
  await contract.removeAllListeners()
  holds(values.length > 0, 'contract.on saw nothing')
}

async function batches() {
  const addresses = Array.from({ length: 60 }, (_, i) => `0x${(i + 1).toString(16).padStart(40, '0')}`)
  const balances = await Promise.all(addresses.map((address) => batching.getBalance(address)))
  same(balances, await Promise.all(addresses.map((address) => single.getBalance(address))), 'a batch beside single calls')
  const reading = contract.connect(batching)
  const mixed = await Promise.allSettled([batching.getBlockNumber(), reading.refuse(7n), batching.send('eth_chainId', [])])
  same(mixed.map((outcome) => outcome.status), ['fulfilled', 'rejected', 'fulfilled'], 'a batch with an error in it')
}

async function reverts() {
  const error = await failure(contract.refuse(7n))
  holds(isError(error, 'CALL_EXCEPTION'), `not a revert: ${error}`)
  same(error.revert?.name, 'Refused', 'name of the revert')
  same(error.data, refusedData, 'revert data')
  same((await failure(contract.refuseText()))?.reason, 'plain words', 'revert text')
  same((await failure(contract.refuse.estimateGas(7n)))?.data, refusedData, 'revert data of eth_estimateGas')
}

async function unknown() {
  const error = await failure(single.send('eth_thereIsNoSuchMethod', []))
  same(error?.error?.code, -32601, 'an unknown method')
}

await run('ethers', { reads, transfer, deploy, ...(loopSeconds ? {} : { logs, filters, watching, batches, reverts, unknown }) })

if (loopSeconds) {
  const reading = contract.connect(batching)
  await loop('ethers', loopSeconds, 6, [
    ['eth_blockNumber', () => single.getBlockNumber()],
    ['eth_getBalance', () => single.getBalance(other)],
    ['eth_call', async () => same(await contract.last(), 42n, 'last')],
    ['eth_getLogs', async () => same((await contract.queryFilter('Noted', 0)).length, 1, 'logs')],
    ['revert', async () => same((await failure(contract.refuse(7n)))?.data, refusedData, 'revert data')],
    ['batch', () => Promise.all([reading.last(), batching.getBlockNumber(), batching.getBalance(other)])],
  ])
}
process.exit(0)
