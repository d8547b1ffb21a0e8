"""Store or Redis away, at the start and in the middle of work; replicas; crashes. Numbers are those of the fault cases."""

import os
import re
import signal
import threading
import time

import pytest

from test_api_bad_input import END, open_upload
from weirtest import wait_for

MIB = 1024 * 1024


def send(s, data=b"", end=True):
    s.sendall(data + (b"\r\n" + END if end else b""))


def answer_of(s, timeout=60):
    s.settimeout(timeout)
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = s.recv(65536)
        if not chunk:
            break
        received += chunk
    return received


# --- at the start ---

def test_waits_for_redis_at_the_start(weir_dir):
    weir_dir.redis.kill()
    api = weir_dir.start_api(ready=False)
    assert api.get("/healthz").status == 200
    ready = api.get("/readyz")
    assert ready.status == 503 and ready.json()["ready"] is False and "redis" in ready.json()
    answer = weir_dir.post([("video", "a.mp4", b"x")])
    assert answer.status == 503 and answer.header("Retry-After")
    api.wait_for_log(r"waiting .*redis")
    weir_dir.redis.start()
    api.wait_until_ready()
    wait_for(lambda: weir_dir.post([("video", "a.mp4", b"x")]).status == 201, 10, "the first rebuild, then an upload")


def test_waits_for_the_store_at_the_start(weir_minio):
    weir_minio.store.server.kill()
    api = weir_minio.start_api(ready=False)
    wait_for(lambda: api.get("/readyz").json().get("store") != "not asked yet", 10, "a look at the store")
    ready = api.get("/readyz")
    assert ready.status == 503 and ready.json()["store"] != "ok"
    assert weir_minio.get("/api/v1/videos").status == 503
    api.wait_for_log(r"waiting .*127.0.0.1", timeout=40)
    weir_minio.store.server.start()
    api.wait_until_ready(timeout=60)
    wait_for(lambda: weir_minio.post([("video", "a.mp4", b"x")]).status == 201, 10, "the first rebuild, then an upload")


def test_ends_while_it_waits(weir_dir):
    weir_dir.redis.kill()
    api = weir_dir.start_api(ready=False)
    assert api.stop() == 0


def test_strict_durability_refuses_a_redis_that_may_lose(weir_dir):
    weir_dir.redis.call("CONFIG", "SET", "appendfsync", "everysec")
    status, log = weir_dir.run_api(REDIS_DURABILITY="strict")
    assert status == 2 and "appendfsync" in log
    api = weir_dir.start_api(REDIS_DURABILITY="warn")
    assert "appendfsync" in api.log


# --- in the middle ---

def test_06_redis_away_at_the_end(weir):
    api = weir.start_api()
    data = os.urandom(9 * MIB)
    s = open_upload(api, len(data), 0)
    s.sendall(data)
    video_id = wait_for(lambda: weir.videos("?state=uploading"), 10, "the upload")[0]["id"]
    weir.redis.kill()
    send(s)
    answer = answer_of(s)
    s.close()
    assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in answer, answer
    weir.redis.start()
    weir.wait_for_state(video_id, "waiting", timeout=60)
    assert weir.source(video_id) == data
    assert weir.redis.call("ZCARD", "{weir}:open") == 1


def test_24_a_frozen_redis_makes_no_request_hang(weir_dir):
    api = weir_dir.start_api()
    video_id = weir_dir.upload(b"x")["id"]
    weir_dir.redis.pause()
    before = time.monotonic()
    answer = api.get(f"/api/v1/videos/{video_id}")
    assert answer.status == 503 and answer.header("Retry-After")
    assert time.monotonic() - before < 15
    assert api.get("/healthz").status == 200
    wait_for(lambda: api.get("/readyz").status == 503, 15, "not to be ready")
    weir_dir.redis.resume()
    api.wait_until_ready()
    assert weir_dir.video(video_id)


def test_26_a_redis_out_of_memory_refuses_and_drops_nothing(weir_dir):
    weir_dir.start_api()
    first = weir_dir.upload(b"x")["id"]
    weir_dir.redis.call("CONFIG", "SET", "maxmemory", "1")
    assert weir_dir.post([("video", "a.mp4", b"x")]).status == 503
    weir_dir.redis.call("CONFIG", "SET", "maxmemory", "0")
    assert weir_dir.video(first)["state"] == "waiting"
    weir_dir.upload(b"x")


def test_the_store_away_in_the_middle(weir_minio):
    api = weir_minio.start_api()
    first = weir_minio.upload(b"x")["id"]
    weir_minio.store.server.kill()
    answer = weir_minio.post([("video", "a.mp4", b"x")])
    assert answer.status == 503 and answer.header("Retry-After"), answer
    wait_for(lambda: api.get("/readyz").status == 503, 30, "not to be ready")
    assert weir_minio.video(first)["state"] == "waiting"
    weir_minio.store.server.start()
    api.wait_until_ready(timeout=60)
    weir_minio.upload(b"x")


def test_20_redis_killed_and_restarted_loses_nothing(weir_dir):
    weir_dir.start_api()
    ids = {weir_dir.upload(b"x")["id"] for _ in range(5)}
    weir_dir.redis.restart()
    wait_for(lambda: weir_dir.get("/api/v1/videos").status == 200, 15, "Redis")
    assert {video["id"] for video in weir_dir.videos("?state=waiting")} == ids


def test_21_the_last_writes_of_redis_are_lost(weir_dir):
    """A Redis that came back without a job that was acknowledged: found again in the store."""
    api = weir_dir.start_api()
    video_id = weir_dir.upload(b"x")["id"]
    weir_dir.redis.call("DEL", f"{{weir}}:video:{video_id}", f"{{weir}}:job:{video_id}.1", "{weir}:open",
                        "{weir}:wait:default:1", "{weir}:videos", "{weir}:videos:waiting")
    weir_dir.redis.restart()
    wait_for(lambda: weir_dir.redis.call("ZSCORE", "{weir}:open", f"{video_id}.1"), 30, "the job to be found again")
    assert api.running


# --- crashes and replicas ---

@pytest.mark.parametrize("sent", [100, 9 * MIB])
def test_a_killed_api_leaves_an_upload_that_is_taken_back(weir, sent):
    api = weir.start_api()
    with open_upload(api, 20 * MIB, sent):
        video_id = wait_for(lambda: weir.videos("?state=uploading"), 10, "the upload")[0]["id"]
        if sent > 8 * MIB:
            wait_for(lambda: len(weir.raw_keys(f".uploads/{video_id}/")) > 1, 10, "the first part to be on its way")
        api.kill()
    # its reservation runs out and no record is new any more: then a pass takes it back, and no other runs by itself here
    for key in weir.raw_keys(f".uploads/{video_id}/"):
        record = weir.store.get(weir.store.raw, key)
        weir.store.put(weir.store.raw, key, re.sub(rb'"written_ms":\d+', b'"written_ms":1', record))
    weir.redis.call("ZREM", "{weir}:admitted", video_id)
    status, log = weir.run_api("--reconcile-once", "--dry-run")
    assert status == 0 and weir.raw_keys(".videos/") == [f".videos/{video_id}.json"], log
    status, log = weir.run_api("--reconcile-once")
    assert status == 0, log
    assert weir.video(video_id, api=weir.start_api()) is None
    assert weir.store.multipart_uploads() == []
    assert weir.raw_keys(".videos/") == [f".videos/{video_id}.deleted"]


def test_03_killed_after_complete_before_enqueue(weir):
    """The completing record and the object are there, the job is not."""
    api = weir.start_api()
    video_id = weir.upload(b"x" * 100)["id"]
    weir.redis.call("DEL", f"{{weir}}:job:{video_id}.1", "{weir}:open", "{weir}:wait:default:1")
    weir.redis.call("HSET", f"{{weir}}:video:{video_id}", "state", "uploading", "generation", "0")
    weir.redis.call("ZREM", "{weir}:videos:waiting", video_id)
    weir.redis.call("ZADD", "{weir}:videos:uploading", "1", video_id)
    weir.redis.call("ZADD", "{weir}:finishing", "1", video_id)
    api.kill()
    weir.start_api()
    weir.wait_for_state(video_id, "waiting", timeout=60)
    assert weir.redis.call("ZCARD", "{weir}:open") == 1
    wait_for(lambda: weir.redis.call("ZCARD", "{weir}:finishing") == 0, 30, "the mark to go")


def test_two_replicas_share_the_work(weir):
    apis = [weir.start_api(), weir.start_api()]
    ids = []

    def upload(n):
        ids.append(weir.upload(os.urandom(1000 * (n + 1)), api=apis[n % 2], title=str(n))["id"])

    threads = [threading.Thread(target=upload, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for api in apis:
        assert {video["id"] for video in weir.videos("?limit=200", api=api)} == set(ids)
    assert weir.redis.call("ZCARD", "{weir}:open") == 12
    assert apis[0].metric('weir_queue_jobs{state="waiting"}') is not None


def test_a_video_deleted_on_the_other_replica_during_its_upload(weir):
    api, other = weir.start_api(), weir.start_api()
    with open_upload(api, 9 * MIB, 9 * MIB) as s:
        video_id = wait_for(lambda: weir.videos("?state=uploading", api=other), 10, "the upload")[0]["id"]
        assert other.request("DELETE", f"/api/v1/videos/{video_id}").status == 204
        send(s)
        assert answer_of(s).split(b" ")[1] == b"410"
    assert weir.video(video_id, api=other) is None
    assert weir.source(video_id) is None
    assert weir.store.multipart_uploads() == []


# --- the end ---

def test_sigterm_lets_an_upload_end(weir_dir):
    api = weir_dir.start_api(SHUTDOWN_GRACE_MS=10000)
    s = open_upload(api, 1000, 500)
    video_id = wait_for(lambda: weir_dir.videos("?state=uploading"), 10, "the upload")[0]["id"]
    api.signal(signal.SIGTERM)
    time.sleep(0.3)
    send(s, os.urandom(500))
    assert answer_of(s).startswith(b"HTTP/1.1 201 ")
    s.close()
    assert api.wait() == 0
    assert len(weir_dir.source(video_id)) == 1000


def test_sigterm_does_not_wait_for_ever(weir_dir):
    api = weir_dir.start_api(SHUTDOWN_GRACE_MS=1000)
    with open_upload(api, 1000, 500):
        wait_for(lambda: weir_dir.videos("?state=uploading"), 10, "the upload")
        before = time.monotonic()
        assert api.stop() == 0
        assert time.monotonic() - before < 10


def test_sigterm_ends_though_the_store_hangs(weir_minio):
    api = weir_minio.start_api(SHUTDOWN_GRACE_MS=2000)
    weir_minio.upload(b"x")
    weir_minio.store.server.pause()
    wait_for(lambda: api.get("/readyz").status == 503, 40, "not to be ready")
    before = time.monotonic()
    assert api.stop() == 0
    assert time.monotonic() - before < 10


# --- memory ---

def test_memory_is_bound_by_the_setting(weir):
    api = weir.start_api(UPLOAD_MEMORY="64MiB")
    idle = api.resident_bytes()
    size = 40 * MIB
    connections = [open_upload(api, size, 0) for _ in range(6)]
    peak, done = [0], []

    def send_all(s):
        block = os.urandom(MIB)
        for _ in range(size // MIB):
            s.sendall(block)
            peak[0] = max(peak[0], api.resident_bytes())
        send(s)
        done.append(answer_of(s).split(b"\r\n")[0])
        s.close()

    threads = [threading.Thread(target=send_all, args=(s,)) for s in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [b"HTTP/1.1 201 Created"] * 6
    if "san/" not in os.environ.get("BIN", ""):  # sanitizers need memory of their own
        assert peak[0] - idle < 64 * MIB + 32 * MIB
