"""What the tests of weir-worker share: workers whose transcoder is obedient_transcode.py, and a look at who does what."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import threading

from store_proxy import StoreProxy
from weirtest import RedisServer, bin_path, wait_for

SCRIPT = pathlib.Path(__file__).with_name("obedient_transcode.py")


@contextlib.contextmanager
def bin_folder(folder):
    """Programs are taken from there."""
    before = os.environ.get("BIN")
    os.environ["BIN"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["BIN"]
        else:
            os.environ["BIN"] = before


def start_obedient(weir, *args, **settings):
    """A worker with the transcoder that does what the source says. The program is copied: it looks beside itself."""
    folder = weir.folder / "obedient"
    if not folder.exists():
        folder.mkdir()
        shutil.copy(bin_path("weir-worker"), folder / "weir-worker")
        shutil.copy(SCRIPT, folder / "weir-transcode")
        (folder / "weir-transcode").chmod(0o755)
    with bin_folder(folder):
        return weir.start_worker(*args, **settings)


def start_api(weir, *args, **settings):
    """An api whose first pass is through: before it nothing is accepted."""
    api = weir.start_api(*args, **settings)
    wait_for(lambda: weir.redis.call("EXISTS", "{weir}:epoch"), 15, "the rebuild to end")
    return api


class Gate:
    """A file that a step waits for: ["until", gate.path]."""

    def __init__(self, folder, name="gate"):
        self.path = str(pathlib.Path(folder) / name)

    def open(self):
        pathlib.Path(self.path).touch()


def plan(*steps, finish=True):
    """The source that tells the transcoder what to do."""
    return json.dumps({"steps": steps, "finish": finish}).encode() + b"\n"


def upload(weir, *steps, finish=True):
    return weir.upload(plan(*steps, finish=finish))["id"]


def children(worker):
    """Process ids of its transcoders."""
    found = []
    for task in pathlib.Path(f"/proc/{worker.pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_for_child(worker):
    return wait_for(lambda: children(worker), 15, f"a child of {worker.name}")[0]


def outcomes(weir, video_id):
    """Every outcome of a video, by generation."""
    prefix = f".outcomes/{video_id}/"
    return {int(re.search(r"(\d+)\.json$", key).group(1)): json.loads(weir.store.get(weir.store.processed, key))
            for key in weir.processed_keys(prefix)}


def versions(weir, video_id):
    """The versions of which something stands in the store."""
    return {key.split("/")[1] for key in weir.processed_keys(f"{video_id}/")}


def count(weir, video_id, name):
    """attempts, stalls or releases: those of the job while it is open, then those of the video."""
    for key in (f"{{weir}}:job:{video_id}.1", f"{{weir}}:video:{video_id}"):
        found = weir.redis.hash(key).get(name)
        if found is not None:
            return int(found)
    return 0


def starts(weir, video_id):
    """How often a transcoder was started for it, by all workers."""
    return sum(len(re.findall(rf"transcoding started .*{video_id}", worker.log)) for worker in weir.workers)


def scratch(weir):
    folder = weir.folder / "scratch"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def check_settled(weir, video_id, state="completed", generation=1):
    """Redis and the store agree; what was published resolves; nothing is left behind."""
    found = outcomes(weir, video_id)
    assert found[generation]["outcome"] == {"completed": "published"}.get(state, state)
    assert weir.video(video_id)["state"] == state
    for name in ("active", "wait:default:0", "wait:default:1", "wait:default:2"):
        assert not any(video_id in entry for entry in weir.redis.call("LRANGE", f"{{weir}}:{name}", 0, -1)), name
    for name in ("lease", "delayed", "open"):
        assert not any(video_id in entry for entry in weir.redis.call("ZRANGE", f"{{weir}}:{name}", 0, -1)), name
    if state == "completed":
        check_resolves(weir, video_id, found[generation]["version"])
    wait_for(lambda: not any(name.startswith(video_id) for name in scratch(weir)), 10, "the scratch directory to be removed")
    return found[generation]


def check_resolves(weir, video_id, version):
    keys = set(weir.processed_keys(f"{video_id}/{version}/"))
    todo, seen = [f"{video_id}/{version}/master.m3u8"], set()
    while todo:
        key = todo.pop()
        assert key in keys, f"{key} is named and not there"
        seen.add(key)
        if key.endswith(".m3u8"):
            lines = weir.store.get(weir.store.processed, key).decode().splitlines()
            uris = [line for line in lines if line and not line.startswith("#")]
            uris += re.findall(r'URI="([^"]+)"', "\n".join(lines))
            todo += [key.rpartition("/")[0] + "/" + uri for uri in uris]
    assert len(seen) > 2


def collect(weir):
    """The collection of leftovers, now."""
    status, log = weir.run_api("--reconcile-once")
    assert status == 0, log


class HoldingProxy(StoreProxy):
    """Holds up requests on their way to the store, or answers on their way back, until they are let go."""

    def __init__(self, server, suffix):
        super().__init__(server, suffix)
        self.hold_request = None  # a pattern for the one request line that is held up, the first that fits
        self.hold_answer = None   # a pattern for requests whose answers are
        self.held, self.let_go = threading.Event(), threading.Event()

    def _questions(self, client, server, state):
        proxy = self

        class Client:
            def recv(self, size):
                data = client.recv(size)
                if proxy.hold_request and re.search(proxy.hold_request.encode(), data):
                    proxy.hold_request = None
                    proxy.held.set()
                    proxy.let_go.wait()
                return data

        super()._questions(Client(), server, state)

    def _answers(self, server, client, state):
        proxy = self

        class Server:
            def recv(self, size):
                data = server.recv(size)
                if proxy.hold_answer and re.search(proxy.hold_answer, state["line"]):
                    proxy.held.set()
                    proxy.let_go.wait()
                return data

            def shutdown(self, how):
                server.shutdown(how)

        super()._answers(Server(), client, state)

    def close(self):
        self.let_go.set()
        super().close()


class RedisProxy:
    """A line to Redis that can be cut for those who use it."""

    def __init__(self, server: RedisServer):
        self.server, self.cut, self._open = server, False, set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set_cut(self, cut):
        self.cut = cut
        for s in list(self._open) if cut else []:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            if self.cut:
                return
            with socket.create_connection(("127.0.0.1", self.server.port)) as server:
                self._open |= {client, server}
                back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                back.start()
                self._copy(client, server)
                back.join()
                self._open -= {client, server}

    def _copy(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.cut:
                    break
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()
        self.set_cut(True)
