"""What the tests of weir-transcode share: the test videos, runs of the program, and eyes and ears for what it made."""

import array
import dataclasses
import json
import math
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import hls_checker  # noqa: E402
from weirtest import bin_path  # noqa: E402

MEDIA = pathlib.Path(os.environ.get("WEIR_TEST_MEDIA", TESTS.parent / "build/media"))
SANITIZED = "asan" in os.environ.get("BIN", "") or "tsan" in os.environ.get("BIN", "")


def media(name):
    """The path of a test video, made when it is not there yet."""
    path = MEDIA / name
    if not path.exists():
        subprocess.run([TESTS / "media/make-media", MEDIA, name], check=True, stdout=subprocess.DEVNULL, timeout=120)
    return path


@dataclasses.dataclass
class Run:
    folder: pathlib.Path
    status: int
    output: str
    log: str
    peak_kib: int

    def lines(self, key):
        return [line.partition("=")[2] for line in self.output.splitlines() if line.startswith(key + "=")]

    @property
    def result(self):
        return json.loads((self.folder / "result.json").read_text())

    def checked(self):
        """The checker's report; there must be no problem."""
        report = hls_checker.inspect(self.folder)
        assert report.problems == [], "\n".join(map(str, report.problems))
        return report

    def lowest(self):
        """The media playlist of the smallest rendition."""
        return sorted(self.folder.glob("v*"), key=lambda p: int(p.name[1:]))[0] / "index.m3u8"


def transcode(source, folder, *options):
    """Runs weir-transcode on a file."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".out"), "w+") as out, open(folder.with_suffix(".err"), "w+") as err:
        child = subprocess.Popen([bin_path("weir-transcode"), "--input", source, "--output", folder, *map(str, options)],
                                 stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, err):
            file.seek(0)
        return Run(folder, child.returncode, out.read(), err.read(), usage.ru_maxrss)


def ffmpeg(*arguments):
    return subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *map(str, arguments)], check=True, capture_output=True,
                          timeout=120)


def whole(playlist):
    """The segments of a media playlist one behind the other: what a player feeds to its decoder."""
    path = playlist.with_name("whole.ts")
    if not path.exists():
        path.write_bytes(b"".join(p.read_bytes() for p in sorted(playlist.parent.glob("seg_*"))))
    return path


def decode_errors(playlist):
    return ffmpeg("-i", whole(playlist), "-f", "null", "-").stderr.decode()


def probe(path, entries):
    text = subprocess.run(["ffprobe", "-v", "error", "-show_entries", entries, "-of", "json", path], check=True,
                          capture_output=True, timeout=60).stdout
    return json.loads(text)


@dataclasses.dataclass
class Picture:
    width: int
    height: int
    data: bytes

    def at(self, x, y):
        """The mean colour of an area of 4 x 4 at a place given as fractions of the size."""
        left, top = int(x * self.width) - 2, int(y * self.height) - 2
        pixels = [self.data[3 * ((top + j) * self.width + left + i):][:3] for i in range(4) for j in range(4)]
        return tuple(sum(p[c] for p in pixels) // len(pixels) for c in range(3))

    def quarters(self):
        """Their colours by name: top left, top right, bottom left, bottom right."""
        return [colour_name(self.at(x, y)) for y in (0.25, 0.75) for x in (0.25, 0.75)]


COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255), "black": (0, 0, 0)}


def colour_name(rgb, tolerance=24):
    for name, wanted in COLOURS.items():
        if all(abs(a - b) <= tolerance for a, b in zip(rgb, wanted)):
            return name
    return str(rgb)


def picture(path, seconds=0):
    """A decoded picture of a video or image file."""
    stream = probe(path, "stream=width,height")["streams"][0]
    seek = ("-ss", seconds) if seconds else ()
    raw = ffmpeg("-i", path, *seek, "-frames:v", 1, "-f", "rawvideo", "-pix_fmt", "rgb24", "-").stdout
    return Picture(stream["width"], stream["height"], raw)


def luma(path):
    """(seconds from the first picture, mean luma) of each picture."""
    text = ffmpeg("-i", path, "-vf", "signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", "-f", "null",
                  "-").stdout.decode()
    times = [float(line.split("pts_time:")[1]) for line in text.splitlines() if "pts_time:" in line]
    means = [float(line.split("=")[1]) for line in text.splitlines() if "YAVG" in line]
    return [(t - times[0], y) for t, y in zip(times, means)]


RATE = 48000


def loudness(path, channel=0, step=0.01):
    """(seconds, root mean square) of each piece of sound, seconds on the clock of the pictures: the first access unit
    of sound may come before the first picture, so the file's time stamps are asked."""
    start = float(probe(path, "stream=start_time")["streams"][0]["start_time"])
    samples = array.array("h", ffmpeg("-i", path, "-ar", RATE, "-f", "s16le", "-ac", 2, "-").stdout)
    size = int(RATE * step)
    found = []
    for at in range(0, len(samples) // 2 - size, size):
        piece = samples[2 * at + channel:2 * (at + size) + channel:2]
        found.append((start + at / RATE, math.sqrt(sum(s * s for s in piece) / size) / 32768))
    return found


def first_picture(playlist):
    return float(probe(whole(playlist), "stream=start_time")["streams"][0]["start_time"])


class Worker:
    """The worker's end of the source socket, answering from a file; `fail_after` requests it gives up, `hang_up_after`
    it is gone, and while `hold` is not set it lets the child wait."""

    def __init__(self, path, fail_after=None, hang_up_after=None):
        self.data = pathlib.Path(path).read_bytes()
        self.fail_after, self.hang_up_after = fail_after, hang_up_after
        self.requests = []
        self.hold, self.asked = threading.Event(), threading.Event()
        self.hold.set()
        self.own, self.child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def serve(self):
        with self.own:
            while True:
                head = self.own.recv(16, socket.MSG_WAITALL)
                if len(head) < 16:
                    return
                offset, length, _ = struct.unpack("=QII", head)
                self.requests.append((offset, length))
                if length > 0:
                    self.asked.set()
                    self.hold.wait(30)
                if self.hang_up_after is not None and len(self.requests) > self.hang_up_after:
                    return
                failed = self.fail_after is not None and len(self.requests) > self.fail_after
                data = b"" if failed else self.data[offset:offset + length]
                self.own.sendall(struct.pack("=IIQ", 1 if failed else 0, len(data), len(self.data)) + data)

    def start(self, folder, *options):
        folder.mkdir(parents=True, exist_ok=True)
        fd = self.child_end.fileno()
        self.child = subprocess.Popen(
            [bin_path("weir-transcode"), "--source-fd", str(fd), "--output", folder, *map(str, options)], pass_fds=[fd],
            env={}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.child_end.close()
        self.folder = folder
        self.thread.start()
        return self

    def finish(self):
        output, log = self.child.communicate(timeout=120)
        self.thread.join(10)
        return Run(self.folder, self.child.returncode, output, log, 0)
