"""The system under test: services on one store and one Redis."""

import os
import pathlib
import re

from .http import multipart, request
from .process import Process, bin_path
from .wait import wait_for

# Short enough for tests, long enough for a busy machine.
DEFAULTS = {"LOG_LEVEL": "debug", "SHUTDOWN_GRACE_MS": "5000", "JOB_LEASE_MS": "3000", "JOB_BACKOFF_MS": "100",
            "JOB_BACKOFF_MAX_MS": "1000", "X264_PRESET": "ultrafast"}


class Service(Process):
    """A Weir service, started on a free port; `url` is where it listens."""

    def __init__(self, name, argv, log_path, env):
        super().__init__(name, argv, log_path, env)
        self.url = None

    def start(self, wait=True):
        super().start()
        if wait:
            self.url = self.wait_for_log(r"listening on (http://\S+)").group(1)
        return self

    def start_again(self):
        """After kill() or stop(): the same settings, a log and a port of its own."""
        self.log_path = self.log_path.with_name(self.log_path.stem + "-again.log")
        return self.start()

    def request(self, method, path, **kwargs):
        return request(self.url, method, path, **kwargs)

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def ready(self):
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def wait_until_ready(self, timeout=20.0):
        wait_for(self.ready, timeout, f"{self.name} to be ready")
        return self

    def metric(self, name):
        """The value of a series as it is written in /metrics: 'weir_queue_jobs{state="waiting"}'."""
        match = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").body.decode(), re.M)
        return float(match.group(1)) if match else None


class Weir:
    def __init__(self, folder, store, redis):
        self.folder, self.store, self.redis = pathlib.Path(folder), store, redis
        self.services, self.apis, self.workers, self.plays = [], [], [], []
        self.settings = {}  # for every service that is started from now on

    # --- services ---

    def environment(self, **settings):
        scratch = self.folder / "scratch"
        env = {name: os.environ[name] for name in ("PATH", "HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")
               if name in os.environ}
        env |= DEFAULTS | {"SCRATCH_DIR": str(scratch)} | self.store.env | self.redis.env | self.settings
        return env | {name: str(value) for name, value in settings.items() if value is not None}

    def _service(self, group, kind, args, settings, ready):
        name = f"{kind}{len(group) + 1}"
        env = self.environment(**{f"{kind.upper()}_PORT": 0} | settings)
        service = Service(name, [bin_path(f"weir-{kind}"), *args], self.folder / f"{name}.log", env)
        group.append(service)
        self.services.append(service)
        service.start()
        return service.wait_until_ready() if ready else service

    def start_api(self, *args, ready=True, **settings):
        """Settings by name: start_api(QUEUE_MAX=2). ready=False does not wait for store, Redis and the first rebuild."""
        api = self._service(self.apis, "api", args, settings, ready)
        if ready:
            wait_for(lambda: self.redis.call("EXISTS", "{weir}:epoch"), 30, "the rebuild to end")
        return api

    def start_worker(self, *args, ready=True, **settings):
        return self._service(self.workers, "worker", args, settings, ready)

    def start_play(self, *args, ready=True, **settings):
        play = self._service(self.plays, "play", args, settings, ready)
        self.settings.setdefault("PUBLIC_PLAY_URL", play.url)
        return play

    def run_api(self, *args, timeout=60.0, **settings):
        """weir-api with arguments until it ends by itself: exit status and what it printed."""
        name = f"api-run{len(self.services) + 1}"
        process = Process(name, [bin_path("weir-api"), *args], self.folder / f"{name}.log",
                          self.environment(API_PORT=0, **settings)).start()
        self.services.append(process)
        return process.wait(timeout), process.log

    def stop(self):
        for service in reversed(self.services):
            service.resume()
            service.kill()

    def logs(self):
        everything = [*self.services, self.redis.process] if self.redis.process else self.services
        return "\n".join(f"----- {process.name}\n{process.log[-20000:]}" for process in everything)

    # --- what clients do, on the first api unless another one is named ---

    def api(self, api=None):
        return api or next(service for service in self.apis if service.running)

    def post(self, fields, api=None, headers=None, timeout=60.0):
        """POST /api/v1/upload with form fields (see multipart)."""
        body, content_type = multipart(fields)
        return self.api(api).request("POST", "/api/v1/upload", body=body, timeout=timeout,
                                     headers={"Content-Type": content_type} | (headers or {}))

    def upload(self, data, filename="clip.mp4", api=None, **texts):
        """Uploads bytes or a file and returns the video object."""
        answer = self.post([*texts.items(), ("video", filename, data)], api)
        assert answer.status == 201, answer
        return answer.json()

    def get(self, path, api=None, **kwargs):
        return self.api(api).get(path, **kwargs)

    def video(self, video_id, api=None):
        """The video object, or None when there is no such video."""
        answer = self.get(f"/api/v1/videos/{video_id}", api)
        assert answer.status in (200, 404), answer
        return answer.json() if answer.status == 200 else None

    def videos(self, query="", api=None):
        answer = self.get(f"/api/v1/videos{query}", api)
        assert answer.status == 200, answer
        return answer.json()["videos"]

    def wait_for_state(self, video_id, *states, timeout=60.0, api=None):
        def look():
            video = self.video(video_id, api)
            return video if video and video["state"] in states else None
        return wait_for(look, timeout, f"{video_id} to be {' or '.join(states)}", every=0.1)

    # --- what is behind it ---

    def raw_keys(self, prefix=""):
        return self.store.keys(self.store.raw, prefix)

    def processed_keys(self, prefix=""):
        return self.store.keys(self.store.processed, prefix)

    def source(self, video_id):
        return self.store.get(self.store.raw, f"{video_id}/source")
