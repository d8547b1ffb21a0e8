#!/usr/bin/python3 -I
"""A weir-transcode that does what its source says, so that a test can make it slow, silent, hostile or dead at will.

The source is JSON: {"steps": [["segment", 1000], ["until", "/path"], …], "finish": true}. See the functions below.
What it is really asked to do, and with what, stands in the log of the worker (LOG_LEVEL=debug).
"""

import json
import os
import signal
import socket
import struct
import sys
import time

out = sys.argv[sys.argv.index("--output") + 1]
source = socket.socket(fileno=int(sys.argv[sys.argv.index("--source-fd") + 1]))
folder = "v240"
segments = []
started = time.monotonic()


def receive(size):
    data = b""
    while len(data) < size:
        chunk = source.recv(size - len(data))
        if not chunk:
            sys.exit("the worker closed the source")
        data += chunk
    return data


def ask(offset, length):
    source.sendall(struct.pack("=QII", offset, length, 0))
    status, got, size = struct.unpack("=IIQ", receive(16))
    if status != 0:
        fail("temporary", "the worker could not read the source", 1)
    return receive(got), size


def tell(*lines):
    os.write(1, "".join(line + "\n" for line in lines).encode())


def write(path, data):
    os.makedirs(os.path.dirname(f"{out}/{path}"), exist_ok=True)
    with open(f"{out}/{path}", "wb") as f:
        f.write(data)


def make(path, data):
    write(path, data)
    tell(f"file={path}")


def block(end=False):
    """Six seconds of video for each segment, of ten segments."""
    tell(f"frame={len(segments) * 150 + int((time.monotonic() - started) * 10)}", "fps=25.0", "speed=1.0",
         f"out_time_us={len(segments) * 6000000}", "duration_us=60000000", f"progress={'end' if end else 'continue'}")


def segment(size=1000):
    name = f"seg_{len(segments):05}.ts"
    segments.append(name)
    make(f"{folder}/{name}", os.urandom(size))
    block()


def until(path):
    """Goes on, making progress, until that file exists."""
    while not os.path.exists(path):
        block()
        time.sleep(0.05)


def hang(path="/nowhere"):
    """Neither progress nor end, until that file exists."""
    while not os.path.exists(path):
        time.sleep(0.05)


def fail(kind, message, status):
    tell(f"error={kind}", f"message={message}")
    sys.exit(status)


def once(path, step):
    """A step for the first attempt only."""
    if not os.path.exists(path):
        open(path, "w").close()
        do(step)


def finish():
    uris = "".join(f"#EXTINF:6.0,\n{name}\n" for name in segments)
    make(f"{folder}/index.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n{uris}#EXT-X-ENDLIST\n".encode())
    make("master.m3u8", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n{folder}/index.m3u8\n".encode())
    make("result.json", json.dumps({
        "duration": 6.0 * len(segments), "width": 426, "height": 240, "segments": len(segments), "bytes": 1,
        "renditions": [{"name": "240p", "width": 426, "height": 240, "bandwidth": 1000, "average_bandwidth": 1000,
                        "codecs": "avc1.42c015"}], "audio": [], "poster": None}).encode())
    block(end=True)


def do(step):
    actions = {"segment": segment, "until": until, "hang": hang, "fail": fail, "once": once, "tell": tell,
               "make": lambda path, text: make(path, text.encode()), "write": lambda path, text: write(path, text.encode()),
               "link": lambda path, target: os.symlink(target, f"{out}/{path}"),
               "say": lambda text: os.write(2, text.encode() + b"\n"), "exit": sys.exit,
               "kill": lambda number: os.kill(os.getpid(), number),
               "fill": lambda path, size: make(path, b"#EXTM3U\n" + b"#" * size), "close": os.close,
               "read": ask, "sleep": time.sleep}
    actions[step[0]](*step[1:])


signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # python ignores it
plan = json.loads(ask(0, 1 << 16)[0].split(b"\n")[0])
for step in plan["steps"]:
    do(step)
if plan.get("finish", True):
    finish()
