"""scripts/run, which is what `make run` starts."""

import os
import pathlib
import re
import signal
import socket

import pytest

from weirtest import Process, wait_for
from weirtest.http import request
from weirtest.process import ROOT

QUICK = {"LADDER": "240", "X264_PRESET": "ultrafast"}


@pytest.fixture
def run(tmp_path):
    """run(NAME=value, …) starts scripts/run on free ports; what it leaves behind fails the test."""
    started = []

    def start(**settings):
        env = {name: os.environ[name] for name in ("PATH", "HOME", "BIN", "ASAN_OPTIONS") if name in os.environ}
        env |= {"DATA_DIR": str(tmp_path / "data dir"), "API_PORT": "0", "PLAY_PORT": "0", "WORKER_PORT": "0"} | QUICK
        log = tmp_path / f"run{len(started) + 1}.log"
        process = Process("run", [str(ROOT / "scripts/run")], log, env | settings).start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop(60)
    wait_for(lambda: not left_behind(tmp_path), 10, "everything that run started to end")


def left_behind(folder):
    """Processes that work in the folder."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(path / "cwd") + (path / "environ").read_bytes().decode(errors="replace")
            if str(folder) in where and int(path.name) != os.getpid():
                found.append((path / "cmdline").read_bytes())
        except OSError:
            pass
    return found


def api_of(process):
    return process.wait_for_log(r"library +(http://\S+)/api/v1/videos", 60).group(1)


def test_sample_then_restart(run):
    process = run()
    api = api_of(process)
    watch = process.wait_for_log(r"sample ready: watch it at (\S+)", 120).group(1)
    assert request(watch).status == 200
    first, = request(api, path="/api/v1/videos").json()["videos"]
    assert first["state"] == "completed" and request(first["links"]["master"]).status == 200
    assert process.stop(60) == 0

    process = run()
    api = api_of(process)
    again = wait_for(lambda: request(api, path="/api/v1/videos").json()["videos"], 20, "the library")
    assert [(video["id"], video["state"]) for video in again] == [(first["id"], "completed")]
    assert "making a sample" not in process.log
    assert process.stop(60) == 0


def test_no_sample_when_told_so(run):
    process = run(SAMPLE="no")
    api = api_of(process)
    assert request(api, path="/api/v1/videos").json()["videos"] == []
    assert process.stop(60) == 0 and "making a sample" not in process.log


def test_one_run_per_folder(run):
    api_of(run(SAMPLE="no"))
    second = run(SAMPLE="no")
    assert second.wait(20) == 1
    assert "in use by another run" in second.log


def test_port_in_use(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = run(API_PORT=str(port))
        assert process.wait(20) == 1
    assert f"port {port} is in use" in process.log and "API_PORT" in process.log


def test_bad_setting(run):
    process = run(QUEUE_MAX="many")
    assert process.wait(20) == 2
    assert "QUEUE_MAX=many" in process.log


def test_a_service_that_dies_ends_the_rest(run):
    process = run(SAMPLE="no")
    api_of(process)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    worker, = [int(pid) for pid in children if b"weir-worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(worker, signal.SIGKILL)
    assert process.wait(60) == 1
    assert re.search(r"worker ended by itself with status 137; its log is .*worker\.log", process.log)
