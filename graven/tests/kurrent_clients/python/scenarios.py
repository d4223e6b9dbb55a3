"""What the files beside this one share.

Each of them is run as `python FILE HOST:PORT [WORD]`: its scenarios prove something of the server there with the client as
its authors published it, one after the other, or only those whose text contains the word. The first that fails ends the run.
"""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
import uuid

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState

PATIENCE_S = 30

_scenarios = []


def proves(what):
    """Registers a function that gets a client and proves what the text says."""

    def register(scenario):
        _scenarios.append((what, scenario))
        return scenario

    return register


def address():
    return sys.argv[1]


def connect(scheme="kurrentdb", options=""):
    return KurrentDBClient(f"{scheme}://{address()}?tls=false{options}")


def run():
    word = sys.argv[2] if len(sys.argv) > 2 else ""
    chosen = [(what, scenario) for what, scenario in _scenarios if word in what]
    if not chosen:
        sys.exit(f"no scenario has {word!r} in its text")
    for what, scenario in chosen:
        try:
            with connect() as client:
                scenario(client)
        except BaseException:
            traceback.print_exc()
            sys.exit(f"NOT proved: {what}")
        print(f"proved: {what}", flush=True)
    print(f"{len(chosen)} passed, 0 failed", flush=True)
    # All is proved. What gRPC's library does when an interpreter ends was seen to wait for ever, with every call closed.
    os._exit(0)


def name(category="loan"):
    """A stream that nobody else uses."""
    return f"{category}-{uuid.uuid4().hex}"


def category(word="loan"):
    """A category that nobody else uses."""
    return f"{word}{uuid.uuid4().hex}"


def event(event_type="Lent", number=0, **more):
    return NewEvent(type=event_type, data=json.dumps({"number": number}).encode(), **more)


def events(count, event_type="Lent", first=0):
    return [event(event_type, number) for number in range(first, first + count)]


def numbers(recorded):
    return [json.loads(one.data)["number"] for one in recorded]


def fill(client, stream, count, event_type="Lent"):
    new = events(count, event_type)
    client.append_to_stream(stream, current_version=StreamState.ANY, events=new)
    return new


def equal(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


@contextlib.contextmanager
def raises(kind, text=""):
    """Holds if the block raises an error of exactly this kind, which is at hand afterwards as `caught.error`."""

    class Caught:
        error = None

    caught = Caught()
    try:
        yield caught
    except kind as error:
        assert type(error) is kind, f"{type(error).__name__} is not {kind.__name__} itself: {error}"
        assert text in str(error), f"{str(error)!r} does not say {text!r}"
        caught.error = error
    else:
        raise AssertionError(f"{kind.__name__} is not raised")


def take(subscription, count):
    """The next so many events of a subscription, which goes on."""
    taken = []
    while len(taken) < count:
        taken.append(next(subscription))
    return taken


def wait_until(what, ask):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = ask()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited too long until {what}"
        threading.Event().wait(0.01)
