"""A private redis-server as Weir wants it, and a small client."""

import pathlib
import socket

from .process import Process, free_port
from .wait import wait_for


class RedisError(Exception):
    pass


def _encode(words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(out)


def _read(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("Redis has closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest.decode()
    if kind == b"-":
        raise RedisError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2].decode(errors="replace")
    return None if rest == b"-1" else [_read(stream) for _ in range(int(rest))]


class RedisServer:
    """Keeps its data over kill() and start(): appendonly, appendfsync always, noeviction."""

    def __init__(self, folder, password=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.password, self.process = free_port(), password, None

    @property
    def env(self):
        env = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port)}
        return env | ({"REDIS_PASSWORD": self.password} if self.password else {})

    def start(self):
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
        argv += ["--requirepass", self.password] if self.password else []
        self.process = Process("redis", argv, self.folder / "redis.log").start()
        wait_for(self._answers, 10, "redis-server")
        return self

    def _answers(self):
        assert self.process.running, f"redis-server ended:\n{self.process.log}"
        try:
            return self.call("PING") == "PONG"
        except (OSError, RedisError):
            return False

    def call(self, *words):
        """One command: redis.call("LLEN", "{weir}:active")."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as s, s.makefile("rwb") as stream:
            if self.password:
                stream.write(_encode(["AUTH", self.password]))
                stream.flush()
                _read(stream)
            stream.write(_encode(words))
            stream.flush()
            return _read(stream)

    def hash(self, key):
        flat = self.call("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))

    def pause(self):
        self.process.pause()

    def resume(self):
        self.process.resume()

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process:
            self.process.resume()
            self.process.kill()

    def restart(self):
        self.kill()
        return self.start()

    def lose_everything(self):
        self.call("FLUSHALL")
