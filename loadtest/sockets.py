#!/usr/bin/env python3
"""WebSocket clients by the thousand: a program of its own, so that what it does is not in the probes' way.

sockets.py storm URL COUNT SECONDS RATE: COUNT connections at once, each asks one call, and all are held until all are answered;
then RATE a second for SECONDS, each for one call. sockets.py hold URL COUNT SECONDS: COUNT subscribers to
`newHeads` for so long. Headers, one a line, are in the file that LOADTEST_HEADERS names. It prints one JSON object.

A subscriber's stream is right when each head is the child of the one before, or of an earlier one (a reorganisation), and
none comes twice. What a head's latency is: from the first subscriber's receipt of it to each one's.
"""

import asyncio
import collections
import json
import os
import ssl
import sys
import time
import urllib.parse

import websocket

OPEN_S = 20
# Handshakes under way at once; a kernel's backlog is seldom longer.
OPENING_MAX = 512
CLOSE_S = 5
# Earlier heads that the next one may stand on.
REMEMBERED = 64
CALL = b'{"jsonrpc":"2.0","id":"lt","method":"eth_chainId","params":[]}'
SUBSCRIBE = b'{"jsonrpc":"2.0","id":"lt","method":"eth_subscribe","params":["newHeads"]}'


class Socket(asyncio.Protocol):
    """One connection. `answered` is done with the first message, or with what went wrong before it."""

    def __init__(self, load, first):
        self.load, self.first = load, first
        loop = asyncio.get_running_loop()
        self.answered, self.closed = loop.create_future(), loop.create_future()
        self.head, self.reader, self.key = b"", None, websocket.new_key()
        self.transport, self.leaving = None, False
        self.told = collections.deque(maxlen=REMEMBERED)

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.load.request(self.key))

    def data_received(self, data):
        try:
            if self.reader is None:
                data = self.handshake(data)
                if data is None:
                    return
            for opcode, payload in self.reader.take(data):
                self.message(opcode, payload)
        except ValueError as error:
            self.fail("protocol", str(error))

    def handshake(self, data):
        self.head += data
        head, end, rest = self.head.partition(b"\r\n\r\n")
        if not end:
            return None
        first, fields = websocket.fields(head)
        if not first.startswith(b"HTTP/1.1 101 "):
            raise ValueError(f"no upgrade: {first.decode(errors='replace')}")
        if fields.get(b"sec-websocket-accept") != websocket.accepts(self.key):
            raise ValueError("another key's answer")
        self.reader = websocket.Reader()
        self.transport.write(websocket.frame(websocket.TEXT, self.first, masked=True))
        return rest

    def message(self, opcode, payload):
        if opcode == websocket.PING:
            self.transport.write(websocket.frame(websocket.PONG, payload, masked=True))
        elif opcode == websocket.CLOSE:
            code = int.from_bytes(payload[:2], "big")
            if not self.leaving:
                self.fail("closed", f"{code} {payload[2:].decode(errors='replace')}")
        elif not self.answered.done():
            reply = json.loads(payload)
            if reply.get("id") == "lt" and "result" in reply:
                self.answered.set_result(time.monotonic())
            else:
                self.load.wrong_one(payload)
                self.fail("refused", payload[:200].decode(errors="replace"))
        elif opcode != websocket.PONG:
            self.load.head(self, payload)

    def fail(self, kind, text):
        self.load.errors[kind] += 1
        self.load.first = self.load.first or f"{kind}: {text}"
        self.leaving = True
        if not self.answered.done():
            self.answered.set_result(None)
        self.transport.abort()

    def connection_lost(self, error):
        if not self.leaving:
            self.leaving = True
            self.load.errors["ended"] += 1
            self.load.first = self.load.first or f"a connection ended: {error}"
        if not self.answered.done():
            self.answered.set_result(None)
        if not self.closed.done():
            self.closed.set_result(None)

    async def leave(self):
        """Says goodbye, and waits for the end a while."""
        if not self.leaving:
            self.leaving = True
            self.transport.write(websocket.frame(websocket.CLOSE, (1000).to_bytes(2, "big"), masked=True))
        try:
            await asyncio.wait_for(asyncio.shield(self.closed), CLOSE_S)
        except asyncio.TimeoutError:
            self.load.errors["close not answered"] += 1
        self.transport.abort()


class Load:
    def __init__(self, url, headers):
        self.url = urllib.parse.urlsplit(url)
        self.headers = headers
        self.opening = asyncio.Semaphore(OPENING_MAX)
        self.errors, self.wrong, self.first = collections.Counter(), 0, ""
        self.answers = []           # (when, ms): connections that were answered, from the beginning of the connection
        self.known = {}             # a header's bytes: (number, hash, parent)
        self.heads = {}             # hash: the first receipt
        self.receipts = []          # (when, ms after the first)
        self.pauses = []            # seconds between first receipts of heads, with when it ended

    def request(self, key):
        target = self.url.path + (f"?{self.url.query}" if self.url.query else "")
        lines = [f"GET {target} HTTP/1.1", f"Host: {self.url.netloc.rpartition('@')[2]}", "Upgrade: websocket",
                 "Connection: Upgrade", f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Version: 13", *self.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def open(self, first):
        """One connection with its first message answered; None when that failed."""
        tls = ssl.create_default_context() if self.url.scheme == "https" else None
        port = self.url.port or (443 if tls else 80)
        # Whoever waits for its turn here has not begun yet.
        async with self.opening:
            began = time.monotonic()
            try:
                _, socket = await asyncio.wait_for(asyncio.get_running_loop().create_connection(
                    lambda: Socket(self, first), self.url.hostname, port, ssl=tls), OPEN_S)
            except (OSError, asyncio.TimeoutError) as error:
                self.errors["connect"] += 1
                self.first = self.first or f"connect: {type(error).__name__} {error}"
                return None
            try:
                answered = await asyncio.wait_for(socket.answered, OPEN_S)
            except asyncio.TimeoutError:
                socket.answered = asyncio.get_running_loop().create_future()
                socket.fail("no answer", f"none in {OPEN_S} s")
                return None
        if answered is None:
            return None
        self.answers.append((answered, (answered - began) * 1000))
        return socket

    def wrong_one(self, payload):
        self.wrong += 1
        self.first = self.first or payload[:300].decode(errors="replace")

    def head(self, socket, payload):
        """A notification: the same header comes to all, but for the subscription's id before it."""
        now = time.monotonic()
        body = payload[payload.find(b'"result"'):]
        head = self.known.get(body)
        if head is None:
            head = self.known[body] = self.read(payload)
        if head is None:
            self.wrong_one(payload)
            return
        number, own, parent = head
        if own in socket.told:
            self.wrong_one(b"told twice: %d" % number)
        elif socket.told and parent not in socket.told:
            self.wrong_one(b"not on what was told: %d" % number)
        socket.told.append(own)
        if own not in self.heads:
            if self.heads:
                self.pauses.append((now, now - next(reversed(self.heads.values()))))
            self.heads[own] = now
        self.receipts.append((now, (now - self.heads[own]) * 1000))

    @staticmethod
    def read(payload):
        try:
            head = json.loads(payload)["params"]["result"]
            return int(head["number"], 16), head["hash"], head["parentHash"]
        except (ValueError, KeyError, TypeError):
            return None

    def found(self, rows):
        return {"rows": rows, "errors": dict(self.errors), "wrong": self.wrong, "first": self.first,
                "heads": len(self.heads), "pauses": self.pauses}


async def storm(load, count, seconds, rate):
    sockets = await asyncio.gather(*(load.open(CALL) for _ in range(count)))
    sockets = [socket for socket in sockets if socket]
    await asyncio.gather(*(socket.leave() for socket in sockets))
    began, tasks = time.monotonic(), set()
    due = began

    async def one():
        if socket := await load.open(CALL):
            await socket.leave()

    while time.monotonic() < began + seconds:
        tasks.add(asyncio.create_task(one()))
        tasks = {task for task in tasks if not task.done()}
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    await asyncio.gather(*tasks)
    return load.found(load.answers)


async def hold(load, count, seconds):
    sockets = await asyncio.gather(*(load.open(SUBSCRIBE) for _ in range(count)))
    sockets = [socket for socket in sockets if socket]
    took = [ms for _, ms in load.answers]
    # Said when it is so: whoever started this may now begin to make trouble.
    print(json.dumps({"subscribed": len(sockets), "open_ms": sorted(took)[len(took) // 2] if took else None}), flush=True)
    await asyncio.sleep(seconds)
    alive = sum(not socket.leaving for socket in sockets)
    newest = collections.Counter(socket.told[-1] if socket.told else None for socket in sockets)
    await asyncio.gather(*(socket.leave() for socket in sockets))
    return {**load.found(load.receipts), "subscribers": len(sockets), "alive": alive,
            "silent": newest.get(None, 0), "newest": len(newest)}


async def main():
    kind, url, count, seconds, *rate = sys.argv[1:]
    path = os.environ.get("LOADTEST_HEADERS")
    headers = open(path, encoding="utf-8").read().split("\n") if path else []
    load = Load(url, [line for line in headers if line])
    run = storm(load, int(count), float(seconds), float(rate[0])) if kind == "storm" else hold(load, int(count), float(seconds))
    print(json.dumps(await run))


asyncio.run(main())
