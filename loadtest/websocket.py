"""WebSocket as far as a load needs it: the handshake, whole messages, pings and closes, no extensions.

Both sides use it: sockets.py as a client, provider.py as a server.
"""

import base64
import hashlib
import os
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
# RFC 6455, section 1.3.
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE_BYTES_MAX = 64 * 2**20


def new_key():
    return base64.b64encode(os.urandom(16))


def accepts(key):
    return base64.b64encode(hashlib.sha1(key + MAGIC).digest())


def fields(head):
    """Of a head's bytes: its first line, and its fields by their names in lower case."""
    first, *lines = head.split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


def frame(opcode, payload, masked=False):
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, bit | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + xor(payload, mask)


def xor(payload, mask):
    """All bytes at once, as one number."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class Reader:
    """Frames out of bytes as they come; a message of several is put together."""

    def __init__(self):
        self.held, self.opcode, self.parts = bytearray(), None, []

    def take(self, data):
        """Adds bytes and yields each message and control frame that is whole, as (opcode, payload)."""
        self.held += data
        while (found := self.first()) is not None:
            last, opcode, payload = found
            if opcode >= CLOSE:
                yield opcode, payload
                continue
            if opcode:
                self.opcode, self.parts = opcode, []
            self.parts.append(payload)
            if last:
                yield self.opcode, b"".join(self.parts)
                self.parts = []

    def first(self):
        held = self.held
        if len(held) < 2:
            return None
        size, at = held[1] & 0x7F, 2
        if size == 126:
            if len(held) < 4:
                return None
            size, at = struct.unpack_from("!H", held, 2)[0], 4
        elif size == 127:
            if len(held) < 10:
                return None
            size, at = struct.unpack_from("!Q", held, 2)[0], 10
        if size > MESSAGE_BYTES_MAX:
            raise ValueError(f"a frame of {size} bytes")
        mask = None
        if held[1] & 0x80:
            mask, at = bytes(held[at:at + 4]), at + 4
        if len(held) < at + size:
            return None
        payload = bytes(held[at:at + size])
        first = held[0]
        del held[:at + size]
        return bool(first & 0x80), first & 0x0F, xor(payload, mask) if mask else payload
