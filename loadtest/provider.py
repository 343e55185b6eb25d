#!/usr/bin/env python3
"""A provider to kill: provider.py PORT DELAY_MS [BLOCK_S] answers every call after that time. Port 0: any; it is printed.

It is not quick (some thousand calls a second), and need not be: what it is for is to die, stall and come back. Over WebSocket
it takes subscriptions, too, and pushes a head for each block. The chain follows from the clock, so that all such providers
of one BLOCK_S (12) have the same one. `GET /heads` tells how many subscriptions of heads there are.
"""

import asyncio
import hashlib
import json
import sys
import time

import websocket

BLOCK_S = float(sys.argv[3]) if len(sys.argv) > 3 else 12.0
# Connections with subscriptions of heads: {connection: ids}.
HEADS = {}


def height():
    return int(time.time() / BLOCK_S)


def own_hash(number):
    return "0x" + hashlib.sha256(b"%d" % number).hexdigest()


def header(number):
    return {"number": hex(number), "hash": own_hash(number), "parentHash": own_hash(number - 1),
            "timestamp": hex(int(number * BLOCK_S)), "logsBloom": "0x" + "00" * 256, "gasLimit": "0x1c9c380",
            "gasUsed": "0x0", "miner": "0x" + "0a" * 20, "extraData": "0x"}


def block(wanted):
    newest = height()
    if len(wanted) == 66:
        found = next((number for number in range(newest, newest - 256, -1) if own_hash(number) == wanted), None)
    else:
        found = int(wanted, 16) if wanted.startswith("0x") else newest
    known = found is not None and found <= newest
    return {**header(found), "size": "0x400", "transactions": [], "uncles": []} if known else None


def result(method, params):
    if method == "eth_chainId":
        return "0x1"
    if method == "eth_syncing":
        return False
    if method.startswith("eth_getBlockBy"):
        return block(params[0] if params else "latest")
    return hex(height())


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
    return {"jsonrpc": "2.0", "id": call.get("id"), "result": result(call.get("method", ""), call.get("params", []))}


class Connection(asyncio.Protocol):
    def __init__(self, delay):
        self.delay, self.held, self.transport, self.reader, self.count = delay, b"", None, None, 0

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        HEADS.pop(self, None)

    def data_received(self, data):
        if self.reader:
            self.messages(data)
            return
        self.held += data
        while b"\r\n\r\n" in self.held:
            head, rest = self.held.split(b"\r\n\r\n", 1)
            first, fields = websocket.fields(head)
            if b"sec-websocket-key" in fields:
                self.upgrade(fields[b"sec-websocket-key"], rest)
                return
            length = int(fields.get(b"content-length", b"0"))
            if len(rest) < length:
                return
            body, self.held = rest[:length], rest[length:]
            if first.startswith(b"GET "):
                self.say(str(sum(map(len, HEADS.values()))))
            else:
                asyncio.get_running_loop().call_later(self.delay, self.answer, body)

    def upgrade(self, key, rest):
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + websocket.accepts(key) + b"\r\n\r\n")
        self.reader, self.held = websocket.Reader(), b""
        self.messages(rest)

    def messages(self, data):
        for opcode, payload in self.reader.take(data):
            if opcode == websocket.PING:
                self.transport.write(websocket.frame(websocket.PONG, payload))
            elif opcode == websocket.CLOSE:
                self.transport.write(websocket.frame(websocket.CLOSE, payload[:2]))
                self.transport.close()
            elif opcode != websocket.PONG:
                asyncio.get_running_loop().call_later(self.delay, self.answer_message, payload)

    def answer_message(self, payload):
        call = json.loads(payload)
        text = f"[{', '.join(map(text_of, call))}]" if isinstance(call, list) else self.subscribe(call) or text_of(call)
        self.transport.write(websocket.frame(websocket.TEXT, text.encode()))

    def subscribe(self, call):
        """The answer to what is about subscriptions; None to anything else."""
        params = call.get("params") or [""]
        if call.get("method") == "eth_subscribe":
            self.count += 1
            found = f"0x{id(self) & 0xFFFFFFFF:08x}{self.count:024x}"
            if params[0] == "newHeads" and not self.transport.is_closing():
                HEADS.setdefault(self, []).append(found)
        elif call.get("method") == "eth_unsubscribe":
            found = params[0] in HEADS.get(self, [])
            if found:
                HEADS[self].remove(params[0])
        else:
            return None
        return json.dumps({"jsonrpc": "2.0", "id": call.get("id"), "result": found})

    def answer(self, body):
        call = json.loads(body or b"{}")
        self.say(f"[{', '.join(map(text_of, call))}]" if isinstance(call, list) else text_of(call))

    def say(self, text):
        text = text.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self.transport.write(head.encode() + text)


async def push():
    """A head to every subscription for each block; who was stopped for a while tells of all that it slept through."""
    last = height()
    while True:
        await asyncio.sleep(max(0.0, (last + 1) * BLOCK_S - time.time()))
        while last < height():
            last += 1
            head = json.dumps(header(last))
            for connection, ids in list(HEADS.items()):
                for found in ids:
                    text = (f'{{"jsonrpc": "2.0", "method": "eth_subscription", "params": '
                            f'{{"subscription": "{found}", "result": {head}}}}}')
                    connection.transport.write(websocket.frame(websocket.TEXT, text.encode()))


async def main():
    port, delay_ms = int(sys.argv[1]), float(sys.argv[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(delay_ms / 1000), "127.0.0.1", port, reuse_address=True, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(server.serve_forever(), push())


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
