"""web3.py on one WebSocket: heads, logs by a list of alternatives, calls; binary frames, as it sends them by default.

watch.mjs says what is printed, and when it ends.
"""

import asyncio
import json
import sys

from web3 import AsyncWeb3, WebSocketProvider

TOPICS = [f"0x{topic:064x}" for topic in (0x41, 0x42)]
ACCOUNT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
PAUSE_S = 0.05


def say(**line):
    print(json.dumps(line), flush=True)


async def on_head(told):
    head = told.result
    say(head={"number": head["number"], "hash": head["hash"].to_0x_hex(), "parent": head["parentHash"].to_0x_hex()})


async def on_log(told):
    log = told.result
    say(log={"block": log["blockHash"].to_0x_hex(), "number": log["blockNumber"], "index": log["logIndex"],
             "removed": log["removed"]})


async def call_until(ended, w3):
    calls = [
        ("eth_blockNumber", lambda: w3.eth.get_block_number()),
        ("eth_getBalance", lambda: w3.eth.get_balance(ACCOUNT)),
        ("eth_getBlockByNumber", lambda: w3.eth.get_block("latest")),
    ]
    count = 0
    while not ended.is_set():
        what, call = calls[count % len(calls)]
        try:
            await call()
        except Exception as error:  # whatever a client may meet
            say(failed=f"{what}: {error!r}"[:400])
        count += 1
        await asyncio.sleep(PAUSE_S)
    say(calls=count)


async def until_end_of_input(ended):
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    ended.set()


async def main():
    url, address = sys.argv[1:]
    ended = asyncio.Event()
    async with AsyncWeb3(WebSocketProvider(url, request_timeout=30, max_connection_retries=1)) as w3:
        await w3.eth.subscribe("newHeads", handler=on_head)
        await w3.eth.subscribe("logs", {"address": w3.to_checksum_address(address), "topics": [TOPICS]}, handler=on_log)
        listening = asyncio.create_task(w3.subscription_manager.handle_subscriptions(run_forever=True))
        listening.add_done_callback(lambda task: task.cancelled() or say(closed=repr(task.exception())[:400]))
        asyncio.create_task(until_end_of_input(ended))
        say(ready=True)
        await call_until(ended, w3)
        listening.cancel()


asyncio.run(main())
