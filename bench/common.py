"""What the measurements share: services from the kit of the integration tests, CPU and memory of a process, a way to say
whether a goal is met that bench/run can collect."""

import json
import os
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/integration"))

MIB = 1024 * 1024
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_seconds_with_children(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_seconds(pid) + sum(cpu_seconds_with_children(int(child)) for child in children)


def status_bytes(pid, field):
    """VmRSS: now; VmHWM: the most there ever was."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", text).group(1)) * 1024


def folder():
    """A temporary folder on a disk."""
    return tempfile.TemporaryDirectory(prefix="weir-bench-", dir=os.environ.get("BENCH_DIR"))


def open_bucket(store):
    """Anybody may write: curl 7.88 can't sign an upload."""
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action":
              ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{store.processed}/*"]}]}
    status, body = store.server.call("PUT", f"/{store.processed}", {"policy": ""}, json.dumps(policy).encode())
    assert status == 204, body


class Goals:
    """Prints a line for each; the exit status says whether all are met."""

    def __init__(self):
        self.missed = 0

    def at_most(self, name, value, goal):
        self._say(name, value, "≤", goal, value <= goal)

    def at_least(self, name, value, goal):
        self._say(name, value, "≥", goal, value >= goal)

    def _say(self, name, value, sign, goal, met):
        self.missed += not met
        print(f"{name:40} {value:10.3f}  goal {sign} {goal:.3f}  {'met' if met else 'MISSED'}")

    def exit(self):
        sys.exit(1 if self.missed else 0)
