"""web3.py against a node: reads, a mined transaction, a contract, logs, filters, batches, reverts."""

import argparse
import json
import pathlib
import sys
import time
import traceback

from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError, ContractLogicError, Web3RPCError

# An account of Anvil's own well-known mnemonic; the other clients use others.
KEY = "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"
OTHER = Web3.to_checksum_address("0x00000000000000000000000000000000000000c1")
# abi-encoded Refused(7, "not today"): what a reverting call must bring back, byte for byte.
REFUSED = (
    "0xa85e02ba"
    "0000000000000000000000000000000000000000000000000000000000000007"
    "0000000000000000000000000000000000000000000000000000000000000040"
    "0000000000000000000000000000000000000000000000000000000000000009"
    "6e6f7420746f6461790000000000000000000000000000000000000000000000"
)
PROBE = json.loads(pathlib.Path(__file__).with_name("probe.json").read_text())


def same(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r} instead of {expected!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def failure(call, *kinds):
    """The error that a call ends with; anything but `kinds` goes on."""
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError("no error")


def eventually(what, probe):
    """Asks until there is something; for what a chain does in its own time."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited for: {what}")


class Client:
    def __init__(self, url, chain_id):
        # A client that tries again would hide what we look for.
        self.w3 = Web3(HTTPProvider(url, request_kwargs={"timeout": 30}, exception_retry_configuration=None))
        self.eth = self.w3.eth
        self.chain_id = chain_id
        self.account = Account.from_key(KEY)
        self.contract = None

    def send(self, transaction):
        transaction |= {
            "from": self.account.address,
            "chainId": self.chain_id,
            "nonce": self.eth.get_transaction_count(self.account.address),
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 1,
            "gas": 1_000_000,
        }
        signed = self.account.sign_transaction(transaction)
        sent = self.eth.send_raw_transaction(signed.raw_transaction)
        same(sent, signed.hash, "hash of the sent transaction")
        receipt = self.eth.wait_for_transaction_receipt(sent, timeout=20, poll_latency=0.02)
        same(receipt["status"], 1, "status of the receipt")
        return receipt

    def note(self, value):
        data = self.contract.encode_abi("note", [value])
        return self.send({"to": self.contract.address, "data": data, "value": 0})

    def reads(self):
        same(self.eth.chain_id, self.chain_id, "eth_chainId")
        same(self.w3.net.version, str(self.chain_id), "net_version")
        holds(self.eth.block_number >= 0, "eth_blockNumber")
        holds(self.eth.get_balance(self.account.address) > 10**20, "eth_getBalance")
        holds(self.eth.gas_price > 0, "eth_gasPrice")
        same(self.eth.get_block(0)["number"], 0, "eth_getBlockByNumber")
        same(self.eth.get_code(OTHER).hex(), "", "eth_getCode")

    def transfer(self):
        before = self.eth.get_balance(OTHER)
        receipt = self.send({"to": OTHER, "value": 777})
        same(self.eth.get_balance(OTHER) - before, 777, "balance after the transfer")
        same(self.eth.get_transaction(receipt["transactionHash"])["value"], 777, "eth_getTransactionByHash")

    def deploy(self):
        receipt = self.send({"data": PROBE["bytecode"], "value": 0})
        self.contract = self.eth.contract(address=receipt["contractAddress"], abi=PROBE["abi"])
        self.note(42)
        same(self.contract.functions.last().call(), 42, "eth_call")

    def logs(self):
        found = self.contract.events.Noted().get_logs(from_block=0)
        same([(e["args"]["who"], e["args"]["value"]) for e in found], [(self.account.address, 42)], "eth_getLogs")

    def filters(self):
        events = self.contract.events.Noted.create_filter(from_block="latest")
        blocks = self.eth.filter("latest")
        events.get_new_entries()
        self.note(43)
        found = eventually("the event", events.get_new_entries)
        same([e["args"]["value"] for e in found], [43], "eth_getFilterChanges")
        same(events.get_new_entries(), [], "eth_getFilterChanges when nothing happened")
        holds(len(blocks.get_new_entries()) > 0, "eth_newBlockFilter")
        # From the first block: "latest" is the newest block only, and that may be another client's.
        every = self.contract.events.Noted.create_filter(from_block=0)
        same([e["args"]["value"] for e in every.get_all_entries()], [42, 43], "eth_getFilterLogs")
        same(self.eth.uninstall_filter(events.filter_id), True, "eth_uninstallFilter")
        failure(events.get_new_entries, Web3RPCError)

    def batches(self):
        addresses = [Web3.to_checksum_address(f"0x{i:040x}") for i in range(1, 41)]
        with self.w3.batch_requests() as batch:
            for address in addresses:
                batch.add(self.eth.get_balance(address))
            together = batch.execute()
        same(together, [self.eth.get_balance(a) for a in addresses], "a batch beside single calls")

    def reverts(self):
        error = failure(self.contract.functions.refuse(7).call, ContractCustomError)
        same(error.data, REFUSED, "revert data")
        text = failure(self.contract.functions.refuseText().call, ContractLogicError)
        holds("plain words" in str(text), f"revert text: {text}")
        transaction = {"from": self.account.address}
        estimate = failure(lambda: self.contract.functions.refuse(7).estimate_gas(transaction), ContractCustomError)
        same(estimate.data, REFUSED, "revert data of eth_estimateGas")

    def unknown(self):
        answer = self.w3.provider.make_request("eth_thereIsNoSuchMethod", [])
        same(answer["error"]["code"], -32601, "an unknown method")

    def reverting(self):
        error = failure(self.contract.functions.refuse(7).call, ContractCustomError)
        same(error.data, REFUSED, "revert data")

    def loop(self, seconds):
        """Makes calls in turn. Every failure counts; none is tried again."""
        calls = [
            ("eth_blockNumber", lambda: self.eth.block_number),
            ("eth_getBalance", lambda: self.eth.get_balance(OTHER)),
            ("eth_call", lambda: same(self.contract.functions.last().call(), 42, "last")),
            ("eth_getLogs", lambda: same(len(self.contract.events.Noted().get_logs(from_block=0)), 1, "logs")),
            ("revert", self.reverting),
        ]
        end, count, failures, slowest, reasons = time.monotonic() + seconds, 0, 0, 0, {}
        while time.monotonic() < end:
            what, call = calls[count % len(calls)]
            start = time.monotonic()
            try:
                call()
            except Exception as error:  # whatever a client may meet
                failures += 1
                reason = f"{what}: {error!r}"[:400]
                reasons[reason] = reasons.get(reason, 0) + 1
            count += 1
            slowest = max(slowest, round((time.monotonic() - start) * 1000))
        print(json.dumps({"client": "web3py", "calls": count, "failures": failures, "slowest_ms": slowest, "reasons": reasons}))
        return failures == 0 and count > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--chain", type=int, default=31337)
    parser.add_argument("--loop", type=float, default=0, metavar="SECONDS")
    arguments = parser.parse_args()
    client = Client(arguments.url, arguments.chain)
    steps = ["reads", "transfer", "deploy"]
    if not arguments.loop:
        steps += ["logs", "filters", "batches", "reverts", "unknown"]
    for step in steps:
        try:
            getattr(client, step)()
        except Exception:
            traceback.print_exc()
            sys.exit(f"web3py: {step}: failed")
        print(f"web3py: {step}: ok", flush=True)
    if arguments.loop and not client.loop(arguments.loop):
        sys.exit(1)


main()
