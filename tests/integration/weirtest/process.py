"""A server under test: started with its own environment, its log kept, ended by its process id."""

import os
import pathlib
import random
import re
import signal
import socket
import subprocess

from .wait import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]


def bin_path(name):
    """A built program; BIN names another folder than build/bin (for example that of a sanitizer's build)."""
    path = pathlib.Path(os.environ.get("BIN", ROOT / "build/bin")) / name
    assert path.exists(), f"{path} is not built"
    return str(path)


def free_port():
    """A port for a server that can't be told to take port 0, or is to come back to it. It lies below those that the kernel
    gives to connections, any of which may take it while the server is away."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Process:
    """Runs `argv` until stop() or kill(). Everything it prints is in `log_path`."""

    def __init__(self, name, argv, log_path, env=None, cwd=None):
        self.name, self.argv, self.env, self.cwd = name, argv, env, cwd
        self.log_path = pathlib.Path(log_path)
        self.popen = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(self.argv, env=self.env, cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT)
        return self

    @property
    def pid(self):
        return self.popen.pid

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def running(self):
        return self.popen is not None and self.popen.poll() is None

    @property
    def exit_status(self):
        return self.popen.returncode

    def wait_for_log(self, pattern, timeout=15.0):
        """The match of a regular expression in the log."""
        def look():
            match = re.search(pattern, self.log)
            assert match or self.running, f"{self.name} ended with {self.exit_status}:\n{self.log}"
            return match
        return wait_for(look, timeout, f"{pattern!r} in the log of {self.name}")

    def signal(self, number):
        if self.running:
            self.popen.send_signal(number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def stop(self, timeout=20.0):
        """SIGTERM, and the exit status; SIGKILL is a failure of the test."""
        if self.running:
            self.resume()
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not end within {timeout} s of SIGTERM") from None
        return self.exit_status

    def kill(self):
        if self.running:
            self.popen.kill()
            self.popen.wait()

    def wait(self, timeout=20.0):
        """Its exit status, once it ends by itself."""
        return self.popen.wait(timeout)

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
