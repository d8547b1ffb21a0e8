"""weir-play under many viewers and with a store that fails: one fetch per object, bounded memory, no cut-off answer that
looks whole."""

import concurrent.futures
import http.client
import os
import re
import socket
import urllib.parse

import pytest

from published import Published
from store_proxy import StoreProxy
from weirtest import Weir, wait_for

MIB = 1024 * 1024
MASTER = (b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"avc1.640015\"\nv240/index.m3u8\n")


@pytest.fixture
def proxied(tmp_path, minio, redis):
    """Weir on a store behind a proxy."""
    store = StoreProxy(minio, re.sub(r"[^a-z0-9]+", "-", tmp_path.name.lower())[-50:].strip("-"))
    weir = Weir(tmp_path, store, redis)
    yield weir
    weir.stop()
    store.close()


def ask_often(play, path, times, headers=None):
    with concurrent.futures.ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: play.get(path, headers=headers), range(times)))


def test_one_fetch_however_many_ask(proxied):
    play, store = proxied.start_play(), proxied.store
    data = os.urandom(300_000)
    video = Published(store, {"master.m3u8": MASTER, "v240/seg.ts": data}).publish()
    store.gate.clear()  # the store answers only when everybody has asked
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(play.get, video.path("v240/seg.ts")) for _ in range(40)]
        asked += [pool.submit(play.get, f"{video.stable}/master.m3u8", headers={"Accept-Encoding": "gzip"})
                  for _ in range(10)]
        asked += [pool.submit(play.get, f"{video.stable}/master.m3u8") for _ in range(10)]
        wait_for(lambda: store.count(r"GET .*outcomes"), 10, "the first question")
        store.gate.set()
        answers = [one.result() for one in asked]
    assert {answer.status for answer in answers} == {200}
    assert all(answer.body == data for answer in answers[:40])
    assert store.count(r"GET \S*/v240/seg\.ts") == 1
    assert store.count(r"GET \S*/master\.m3u8") == 1
    # One look per question, not per viewer: what is the newest, and is this version published.
    assert store.count(r"GET \S*list-type=2\S*outcomes") == 1
    assert store.count(r"HEAD \S*\.deleted") == 2


def test_objects_that_are_not_there_are_asked_for_once_a_second(proxied):
    play, store = proxied.start_play(), proxied.store
    missing = Published(store, {})
    assert {answer.status for answer in ask_often(play, f"{missing.stable}/master.m3u8", 30)} == {404}
    assert store.count(rf"GET \S*list-type=2\S*{missing.id}") <= 3


def test_an_answer_that_was_cut_off_does_not_look_whole(proxied):
    """Too large for the cache, so it is passed on as it comes; the store breaks in the middle, again and again."""
    play, store = proxied.start_play(), proxied.store
    data = os.urandom(10 * MIB)
    video = Published(store, {"seg.ts": data}).publish()
    store.cut_what, store.cut_after = r"GET \S*/seg\.ts", 0
    answer = play.get(video.path("seg.ts"))
    assert (answer.status, answer.problem) == (503, "unavailable"), "nothing was sent yet: a proper answer"
    assert int(answer.header("Retry-After")) > 0
    store.cut_after = 3 * MIB  # of each try; the transfer is resumed where it broke
    assert play.get(video.path("seg.ts")).body == data
    with socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(play.url).port), 30) as s:
        s.sendall(f"GET {video.path('seg.ts')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = http.client.HTTPResponse(s)
        answer.begin()
        assert answer.read(1000) == data[:1000]
        store.cut_after = 0
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    store.cut_after = None
    assert play.get(video.path("seg.ts")).body == data


def test_a_failed_fetch_is_not_kept(proxied):
    play, store = proxied.start_play(), proxied.store
    data = os.urandom(500_000)
    video = Published(store, {"seg.ts": data}).publish()
    store.cut_what, store.cut_after = r"GET \S*/seg\.ts", 0
    assert {answer.status for answer in ask_often(play, video.path("seg.ts"), 10)} == {503}
    store.cut_after = None
    assert play.get(video.path("seg.ts")).body == data


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_the_store_goes_away_and_comes_back(proxied, how):
    play, store = proxied.start_play(), proxied.store
    video = Published(store, {"master.m3u8": MASTER, "v240/seg.ts": b"x" * 1000}).publish()
    path = video.path("v240/seg.ts")
    assert play.get(path).status == 200
    if how == "refuses":
        store.refuses = True
    else:
        store.gate.clear()

    wait_for(lambda: play.get(path).status == 503, 20, "a refusal")
    answers = ask_often(play, path, 20) + ask_often(play, f"{video.stable}/master.m3u8", 5)
    assert {answer.status for answer in answers} == {503}
    assert answers[0].problem == "unavailable"
    assert int(answers[0].header("Retry-After")) > 0
    assert play.get("/healthz").status == 200
    wait_for(lambda: play.get("/readyz").status == 503, 30, "play to be not ready")

    store.refuses = False
    store.gate.set()
    wait_for(lambda: play.get(path).status == 200, 20, "the video to be back")
    play.wait_until_ready()


def test_started_before_its_store(proxied):
    proxied.store.refuses = True
    play = proxied.start_play(ready=False)
    wait_for(lambda: "waiting for a service" in play.log, 20, "it to say what it waits for")
    assert play.get("/readyz").status == 503
    assert play.get("/healthz").status == 200
    proxied.store.refuses = False
    play.wait_until_ready()


class Slow:
    """A viewer that takes the first bytes of an answer and then none for a while."""

    def __init__(self, play, path):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", urllib.parse.urlsplit(play.url).port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        self.answer = http.client.HTTPResponse(self.socket)

    def begin(self):
        self.answer.begin()
        return self.answer.status

    def rest(self):
        with self.socket:
            return self.answer.read()


@pytest.mark.parametrize("cache, bound", [("16MiB", 120 * MIB)])
def test_slow_viewers_hold_no_more_than_the_cache(weir, cache, bound):
    """Forty of them, each in the middle of another object, together ten times the cache; others still play."""
    play = weir.start_play(PLAY_CACHE=cache)
    data = os.urandom(4 * MIB)
    names = [f"v240/seg_{i:05}.ts" for i in range(40)]
    video = Published(weir.store, {"master.m3u8": MASTER} | {name: data for name in names}).publish()
    viewers = [Slow(play, video.path(name)) for name in names]
    try:
        assert {viewer.begin() for viewer in viewers} == {200}
        assert play.metric("weir_play_cache_bytes") <= 14 * MIB
        for headers in ({}, {"Accept-Encoding": "gzip"}):
            assert play.get(f"{video.stable}/master.m3u8", headers=headers).status == 200
            assert play.get(video.path("master.m3u8"), headers=headers).status == 200
            assert play.get("/web/watch.js", headers=headers).status == 200
        assert play.get(video.path(names[7])).body == data
        if "san" not in os.environ.get("BIN", ""):  # sanitizers have memory of their own
            assert play.resident_bytes() < bound
        assert all(viewer.rest() == data for viewer in viewers)
    finally:
        for viewer in viewers:
            viewer.socket.close()
    assert play.get("/healthz").status == 200


def test_ends_while_a_viewer_is_slow(weir_dir):
    play = weir_dir.start_play(SHUTDOWN_GRACE_MS=500)
    video = Published(weir_dir.store, {"seg.ts": os.urandom(20 * MIB)}).publish()
    viewer = Slow(play, video.path("seg.ts"))
    assert viewer.begin() == 200
    assert play.stop(timeout=5) == 0
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        viewer.rest()
