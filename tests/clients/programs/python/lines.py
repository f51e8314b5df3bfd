"""Takes commands from the standard input, a line each, and answers a line at a time; `done` or `failed WHY` ends the answers."""

import sys
import threading
import traceback

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

# What to write in each transaction, and whether it is committed.
TRANSACTIONS = [
    (["committed-0", "committed-1", "committed-2"], True),
    (["aborted-0", "aborted-1", "aborted-2"], False),
    (["last"], True),
]

# How many records may wait for their acknowledgement while a broker is killed.
WINDOW = 50

_saying = threading.Lock()


def say(*words):
    with _saying:
        print(*words, flush=True)


def serve(commands):
    """Does what each line says, one after the other, until the input ends."""
    for line in sys.stdin:
        command, *words = line.split()
        try:
            commands[command](*words)
            say("done")
        except Exception as error:
            traceback.print_exc()
            say("failed", type(error).__name__, *str(error).split())


def produce(write):
    """The command `produce`, by `write(topic, codec, first, count)`."""
    return lambda topic, codec, first, count: write(topic, codec, int(first), int(count))


def flood(write):
    """The command `flood`, by the same."""
    return lambda topic, count: write(topic, "none", 0, int(count))


class Access:
    """Where the brokers are, and who asks: `BOOTSTRAP [AUTHORITY USER PASSWORD]`."""

    def __init__(self):
        self.bootstrap, *secure = sys.argv[1:]
        self.authority, self.user, self.password = secure or (None, None, None)


def key(number):
    return f"k-{number:06}".encode()


def value(number):
    return f"v-{number:06}-{'abcdefgh' * 40}".encode()


def headers(number):
    return [("number", f"{number:06}".encode())]


def say_outcome(number, error):
    if error is None:
        say("acknowledged", number)
    else:
        say("refused", number, *str(error).split())


def say_record(member, partition, offset, key, value, headers):
    entries = [f"{name}={text.decode()}" for name, text in headers or []]
    say("record", member, partition, offset, key.decode(), value.decode(), ",".join(entries) or "-")


class Countdown:
    """Tells when so many were counted."""

    def __init__(self, left):
        self._left = left
        self._lock = threading.Lock()
        self.enough = threading.Event()

    def count(self):
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.enough.set()


def in_threads(work, numbers):
    """Runs `work(number)` in a thread each, and raises what one of them raised."""
    failures = []

    def guarded(number):
        try:
            work(number)
        except Exception as error:
            traceback.print_exc()
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,), daemon=True) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
