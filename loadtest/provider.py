#!/usr/bin/env python3
"""A provider to kill: provider.py PORT DELAY_MS answers every call after that time. Port 0: any; it is printed.

It is not quick (some thousand calls a second), and need not be: what it is for is to die, stall and come back.
"""

import asyncio
import json
import sys
import time


def result(method):
    if method == "eth_chainId":
        return "0x1"
    if method == "eth_syncing":
        return False
    if method.startswith("eth_getBlock"):
        return {"number": hex(int(time.time()) // 12), "hash": "0x" + "ab" * 32, "parentHash": "0x" + "cd" * 32,
                "timestamp": hex(int(time.time())), "transactions": []}
    return hex(int(time.time()) // 12)


def log(number):
    return {"address": "0x" + "0a" * 20, "topics": ["0x" + f"{topic:064x}" for topic in range(3)],
            "data": "0x" + f"{number:064x}", "blockNumber": hex(number), "blockHash": "0x" + "ab" * 32,
            "transactionHash": "0x" + f"{number:064x}", "transactionIndex": "0x0", "logIndex": "0x0", "removed": False}


# Ready before it is asked for: making it takes longer than sending it.
LOGS = json.dumps([log(number) for number in range(1, 1001)])


def text_of(call):
    """One reply's text."""
    if call.get("method") == "eth_getLogs":
        return f'{{"jsonrpc": "2.0", "id": {json.dumps(call.get("id"))}, "result": {LOGS}}}'
    return json.dumps(reply(call))


def reply(call):
    return {"jsonrpc": "2.0", "id": call.get("id"), "result": result(call.get("method", ""))}


class Connection(asyncio.Protocol):
    def __init__(self, delay):
        self.delay, self.held, self.transport = delay, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.held += data
        while b"\r\n\r\n" in self.held:
            head, rest = self.held.split(b"\r\n\r\n", 1)
            fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
            length = int(fields.get(b"content-length", b"0"))
            if len(rest) < length:
                return
            body, self.held = rest[:length], rest[length:]
            asyncio.get_running_loop().call_later(self.delay, self.answer, body)

    def answer(self, body):
        call = json.loads(body or b"{}")
        text = f"[{', '.join(map(text_of, call))}]" if isinstance(call, list) else text_of(call)
        text = text.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self.transport.write(head.encode() + text)


async def main():
    port, delay_ms = int(sys.argv[1]), float(sys.argv[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(delay_ms / 1000), "127.0.0.1", port, reuse_address=True)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
