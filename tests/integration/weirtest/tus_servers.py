"""Servers that the tus suite can run against: Weir, and tusd as the peer it is measured by. Both have an `endpoint` and
can be asked for the bytes they stored."""

import pathlib
import shutil
import urllib.parse

from .process import Process, free_port
from .redis import RedisServer
from .store import DirStore
from .weir import Weir

ENDPOINT = "/api/v1/uploads"


def upload_id(url):
    return urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1]


def video_id(url):
    """The public id in an upload's URL, which ends in <video id>~<secret>."""
    return upload_id(url).split("~")[0]


class WeirServer:
    """One api on a Redis of its own."""

    name = "weir"
    max_size = 1024 * 1024 * 1024

    def __init__(self, folder, store, **settings):
        self.folder = pathlib.Path(folder)
        self.redis = RedisServer(self.folder / "redis")
        self.weir = Weir(self.folder, store, self.redis)
        self.settings = {"UPLOAD_MAX_SIZE": "1GiB", "UPLOAD_MEMORY": "64MiB", "CREATIONS_PER_MINUTE": 100000,
                         "UPLOADS_PER_CLIENT": 100000, "QUEUE_MAX": 100000} | settings

    def start(self):
        self.redis.start()
        self.weir.start_api(**self.settings)
        return self

    @property
    def endpoint(self):
        return self.weir.apis[0].url + ENDPOINT

    def content(self, url):
        return self.weir.source(video_id(url))

    def logs(self):
        return self.weir.logs()

    def stop(self):
        self.weir.stop()
        self.redis.stop()


class TusdServer:
    """tusd from ~/.cache/weir/bin on the same kinds of store: `scripts/setup tusd` builds it."""

    name = "tusd"
    max_size = WeirServer.max_size

    def __init__(self, folder, store):
        self.folder, self.store = pathlib.Path(folder), store
        self.data, self.port, self.process = self.folder / "data", free_port(), None

    def start(self):
        program = pathlib.Path.home() / ".cache/weir/bin/tusd"
        assert program.exists(), "tusd is missing: scripts/setup tusd"
        env = None
        argv = [str(program), "-host", "127.0.0.1", "-port", str(self.port), "-max-size", str(self.max_size),
                "-enable-experimental-protocol"]
        if isinstance(self.store, DirStore):
            self.data.mkdir(parents=True)
            argv += ["-upload-dir", str(self.data)]
        else:
            status, body = self.store.server.call("PUT", f"/{self.store.raw}")
            assert status == 200, body
            env = {"AWS_ACCESS_KEY_ID": self.store.server.user, "AWS_SECRET_ACCESS_KEY": self.store.server.password,
                   "AWS_REGION": "us-east-1", "PATH": "/usr/bin"}
            argv += ["-s3-bucket", self.store.raw, "-s3-endpoint", f"http://127.0.0.1:{self.store.server.port}",
                     "-s3-part-size", str(8 * 1024 * 1024)]
        self.process = Process("tusd", argv, self.folder / "tusd.log", env=env).start()
        self.process.wait_for_log(r"You can now upload files to")
        return self

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/files/"

    def content(self, url):
        name = upload_id(url)
        if isinstance(self.store, DirStore):
            path = self.data / name
            return path.read_bytes() if path.exists() else None
        return self.store.get(self.store.raw, name.split("+")[0])

    def logs(self):
        return self.process.log[-20000:]

    def stop(self):
        if self.process:
            self.process.kill()
        shutil.rmtree(self.data, ignore_errors=True)
