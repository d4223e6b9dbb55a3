"""A consumer of a group, with KurrentDB's own client as its authors published it.

Run as `python worker.py HOST:PORT NAME GROUP SOURCE LEDGER BROKEN`. For every event it processes it appends a line
`NAME STREAM REVISION RETRIES` to the ledger, which all consumers share, and acknowledges it after that. What it cannot process it
refuses: with BROKEN = `data`, events whose data says `"poison": "park"` or `"poison": "retry"`; with a number N, one of N events by
their ids; with `nothing`, none.
"""

import json
import os
import sys
import zlib

from kurrentdbclient import KurrentDBClient


def refusal(event, broken):
    """How the event is refused; None if it is processed."""
    if broken == "data":
        return json.loads(event.data).get("poison")
    if broken == "nothing":
        return None
    return "park" if zlib.crc32(event.id.bytes) % int(broken) == 0 else None


def main():
    address, name, group, source, ledger, broken = sys.argv[1:]
    # One write of a short line to a file opened so is one piece, whoever else writes.
    lines = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    client = KurrentDBClient(f"kurrentdb://{address}?tls=false&connectionName={name}")
    with client.read_subscription_to_stream(
        group, source, event_buffer_size=20, max_ack_batch_size=10, max_ack_delay=0.01
    ) as consumer:
        for event in consumer:
            action = refusal(event, broken)
            if action is None:
                os.write(lines, f"{name} {event.stream_name} {event.stream_position} {event.retry_count}\n".encode())
                consumer.ack(event)
            else:
                consumer.nack(event, action)


main()
