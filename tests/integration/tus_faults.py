"""What the fault tests of uploads share: what must hold after every fault, and lines that fail in the ways they need."""

import contextlib
import hashlib
import random
import re
import socket
import threading

from store_proxy import StoreProxy
from weirtest import wait_for
from weirtest.tus import Client
from weirtest.tus_servers import ENDPOINT, video_id
from working import RedisProxy


def client_of(api, **kwargs):
    return Client(api.url + ENDPOINT, **kwargs)


class Background(threading.Thread):
    """What it failed with is raised by join()."""

    error = None

    def run(self):
        try:
            super().run()
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def join(self, timeout=None):
        super().join(timeout)
        if self.error:
            raise self.error


def in_background(function, *args):
    thread = Background(target=function, args=args, daemon=True)
    thread.start()
    return thread


def parts_left(weir):
    """Parts of multipart uploads that were neither completed nor aborted."""
    left = weir.store.multipart_uploads()
    if weir.store.name == "dir":  # a folder without its key is one that somebody was removing when he was killed
        return [path for path in left if path.rpartition("/")[0] + "/key" in left and not path.endswith("/key")]
    parts = []
    for key in left:
        for upload_id in multipart_ids(weir, key):
            _, body = weir.store.server.call("GET", f"/{weir.store.raw}/{key}", {"uploadId": upload_id})
            parts += re.findall(rb"<PartNumber>", body)
    return parts


def expect_none(look, what):
    """look() comes to be empty."""
    try:
        wait_for(lambda: not look(), 15)
    except AssertionError:
        raise AssertionError(f"left {what}: {look()}") from None


def multipart_ids(weir, key):
    body = weir.store.server.call("GET", f"/{weir.store.raw}", {"uploads": "", "prefix": key})[1]
    return [match.decode() for match in re.findall(rb"<UploadId>([^<]+)</UploadId>", body)]


def check_settled(weir, url, data, jobs=1, killed=False):
    """The invariants: the bytes are those that were sent, in one object, with one job, and nothing else is left. Who was
    killed, or not answered, between making a multipart upload and recording it leaves an empty one, which is the store's to
    clear away."""
    name = video_id(url)
    weir.wait_for_state(name, "waiting", timeout=60)
    stored = weir.source(name)
    assert stored is not None and len(stored) == len(data), f"{len(stored or b'')} bytes of {len(data)}"
    assert hashlib.sha256(stored).digest() == hashlib.sha256(data).digest(), first_difference(stored, data)
    assert weir.video(name)["size"] == len(data)
    assert weir.raw_keys(f"{name}/") == [f"{name}/source"]
    expect_none(lambda: parts_left(weir) if killed else weir.store.multipart_uploads(), "of multipart uploads")
    open_jobs = [job for job in weir.redis.call("ZRANGE", "{weir}:open", 0, -1) if job.startswith(name)]
    assert open_jobs == [f"{name}.1"], open_jobs
    queued = [job for job in weir.redis.call("LRANGE", "{weir}:wait:default:1", 0, -1) if job.startswith(name)]
    assert queued == [f"{name}.1"], queued
    assert int(weir.redis.call("ZCARD", "{weir}:open")) == jobs
    wait_for(lambda: weir.redis.call("ZSCORE", "{weir}:finishing", name) is None, 30, "the mark to go")


def first_difference(stored, data):
    at = next(n for n, pair in enumerate(zip(stored, data)) if pair[0] != pair[1])
    return f"differs from byte {at} on, of {len(data)}"


class BurstingProxy(StoreProxy):
    """Answers requests itself, with 500 and 503 by turns, while `failing` is set."""

    def __init__(self, server, suffix, seed=1):
        super().__init__(server, suffix)
        self.failing, self.failed, self._random = False, 0, random.Random(seed)

    def _questions(self, client, server, state):
        try:
            while data := client.recv(65536):
                lines = re.findall(rb"^((?:GET|HEAD|PUT|POST|DELETE) \S+) HTTP/1.1\r$", data, re.M)
                self.requests += [line.decode() for line in lines]
                if lines and self.failing:
                    self._refuse(client)
                    return
                server.sendall(data)
        except OSError:
            pass

    def _refuse(self, client):
        status, code = self._random.choice([("500 Internal Server Error", "InternalError"),
                                            ("503 Service Unavailable", "SlowDown")])
        self.failed += 1
        body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>not now</Message></Error>"
        client.sendall(f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
                       f"Connection: close\r\n\r\n{body}".encode())
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


class LosingProxy(StoreProxy):
    """Loses answers on their way back: the next one to a request that matches `lose`, and a `share` of all."""

    def __init__(self, server, suffix, seed=1):
        super().__init__(server, suffix)
        self.lose, self.share, self.lost, self._random = None, 0, 0, random.Random(seed)

    def _answers(self, server, client, state):
        proxy = self

        class Server:
            def recv(self, size):
                data = server.recv(size)
                return b"" if data and proxy.drops(state["line"]) else data

            def shutdown(self, how):
                server.shutdown(how)

        super()._answers(Server(), client, state)

    def drops(self, line):
        if self.lose and re.search(self.lose, line):
            self.lose = None
        elif self._random.random() >= self.share:
            return False
        self.lost += 1
        return True


class ReplyLosingProxy(RedisProxy):
    """Loses the answer to something that Redis did, once, when told to."""

    def __init__(self, server):
        super().__init__(server)
        self._name, self._done, self._asked, self.lost = None, None, set(), threading.Event()

    def lose(self, name, done):
        """Of the lines that carry this name, the one is cut on which the next answer comes once done() is true."""
        self._name, self._done = name.encode(), done

    def _copy(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if self.cut or self._is_to_lose(source, target, data):
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_to_lose(self, source, target, data):
        if not self._done:
            return False
        if source.getpeername()[1] != self.server.port:
            self._asked |= {target} if self._name in data else set()
            return False
        if source not in self._asked or not self._done():
            return False
        self._done = None
        self.lost.set()
        return True
