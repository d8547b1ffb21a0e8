"""Starts Weir and what it stands on for a test: real servers on free ports, all state below a temporary folder, each
ended by its process id. Only the standard library is needed.

    def test_something(weir):              # once with the directory store, once with MinIO
        api = weir.start_api()
        video = weir.upload(sample, title="x")
        weir.start_worker()
        weir.wait_for_state(video["id"], "completed")

A test that kills, stops or restarts something does so through these objects: `weir.redis.kill()`, `worker.pause()`.
What every process has logged is printed when the test fails.
"""

from .http import Response, request, send_raw, multipart
from .process import Process, bin_path, free_port
from .redis import RedisServer
from .store import DirStore, MinioServer, MinioStore
from .wait import wait_for
from .weir import Weir

__all__ = ["DirStore", "MinioServer", "MinioStore", "Process", "RedisServer", "Response", "Weir", "bin_path",
           "free_port", "multipart", "request", "send_raw", "wait_for"]
