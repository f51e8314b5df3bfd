"""kcat does what the scenario says, each time in a process or two of its own."""

import subprocess

import lines
from lines import Countdown, say

WITHIN = 60
access = lines.Access()
FORMAT = "%p %o %k %s %h\n"


def command(*words):
    settings = []
    if access.user:
        settings = [
            "security.protocol=SASL_SSL",
            f"ssl.ca.location={access.authority}",
            "sasl.mechanism=SCRAM-SHA-512",
            f"sasl.username={access.user}",
            f"sasl.password={access.password}",
        ]
    options = [word for setting in settings for word in ("-X", setting)]
    return ["kcat", "-b", access.bootstrap, *options, *words]


def run(*words, **more):
    return subprocess.run(command(*words), check=True, capture_output=True, text=True, timeout=WITHIN, **more)


def say_record(member, text):
    partition, offset, key, value, *headers = text.split()
    say("record", member, partition, offset, key, value, *(headers or "-"))


def about():
    # `Version 1.7.1 (JSON, ..., librdkafka 2.0.2 ...)`
    version = run("-V").stdout.split("Version ")[1].split()[0]
    say("version", version)
    say("codecs", *lines.CODECS)
    say("can idempotence groups offsets isolation")


def list_topics():
    for line in run("-L").stdout.splitlines():
        words = line.split()
        if words[:1] == ["topic"]:
            say("topic", words[1].strip('"'))


def produced(topic, codec, *more):
    return ["-P", "-t", topic, "-K:", "-z", codec, "-E", "-X", "enable.idempotence=true", *more]


def line(number):
    return f"{lines.key(number).decode()}:{lines.value(number).decode()}\n"


def produce(topic, codec, first, count):
    numbers = range(int(first), int(first) + int(count))
    run(*produced(topic, codec), input="".join(map(line, numbers)))
    for number in numbers:
        say("acknowledged", number)


def flood(topic, count):
    """Into one partition that is empty, so that the offset that kcat reports of a record is its number."""
    writing = subprocess.Popen(
        command(*produced(topic, "none", "-p", "0", "-vvv", "-X", "queue.buffering.max.messages=50")),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def feed(_):
        for number in range(int(count)):
            writing.stdin.write(line(number))
            writing.stdin.flush()
        writing.stdin.close()

    def listen(_):
        for said in writing.stderr:
            if "Message delivered" in said:
                say("acknowledged", int(said.split("offset ")[1].split(")")[0]))
            elif "Delivery failed" in said:
                say("refused", said.strip())

    lines.in_threads(lambda work: work(None), [feed, listen])
    if writing.wait(WITHIN) != 0:
        raise ChildProcessError(f"kcat ended with {writing.returncode}")


def consume(topic, group, count):
    countdown = Countdown(int(count))
    members = [
        subprocess.Popen(
            command("-G", group, "-X", "auto.offset.reset=earliest", "-u", "-q", "-f", FORMAT, topic),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    def listen(number):
        for text in members[number].stdout:
            say_record(number, text)
            countdown.count()

    def stop(_):
        countdown.enough.wait()
        for member in members:
            # It commits when it is asked to end.
            member.terminate()
            member.wait(WITHIN)

    lines.in_threads(lambda work: work[0](work[1]), [(listen, 0), (listen, 1), (stop, None)])


def offsets(topic, partition):
    def offset(special):
        return run("-Q", "-t", f"{topic}:{partition}:{special}").stdout.split()[-1]

    say("offsets", offset(-2), offset(-1))


def seek(topic, partition, offset):
    say_record(0, run("-C", "-t", topic, "-p", partition, "-o", offset, "-c", "1", "-q", "-f", FORMAT).stdout)


def read(topic, isolation, last):
    """All that is there, up to its end."""
    isolated = f"isolation.level={isolation}"
    read = run("-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-f", FORMAT, "-X", isolated)
    for text in read.stdout.splitlines():
        say_record(0, text)


lines.serve(
    {
        "about": about,
        "list": list_topics,
        "produce": produce,
        "flood": flood,
        "consume": consume,
        "offsets": offsets,
        "seek": seek,
        "read": read,
    }
)
