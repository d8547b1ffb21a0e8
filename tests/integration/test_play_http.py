"""weir-play as HTTP sees it: addresses, types, conditions, ranges, compression, caches, and what must not be served."""

import gzip
import os
import re

import pytest

from published import Published, new_video_id, transcode, version_of
from weirtest import request, send_raw, wait_for

STABLE = "public, max-age=1, stale-while-revalidate=1"
FOREVER = "public, max-age=31536000, immutable"
ABSENT = "public, max-age=1"
BIG = 9 * 1024 * 1024 + 123  # more than the cache takes of one object


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return transcode(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def big():
    return os.urandom(BIG)


@pytest.fixture
def play(weir):
    return weir.start_play()


@pytest.fixture
def video(play, weir, files):
    return Published(weir.store, files).publish()


@pytest.fixture
def dir_play(weir_dir):
    return weir_dir.start_play()


@pytest.fixture
def dir_video(dir_play, weir_dir, files):
    return Published(weir_dir.store, files).publish()


def uris(playlist):
    lines = playlist.decode().splitlines()
    return [line for line in lines if line and not line.startswith("#")] + re.findall(r'URI="([^"]+)"', playlist.decode())


# --- what is where ---


def test_everything_a_player_asks_for(play, video):
    """From the stable master down to every segment, following the addresses as a player does."""
    master = play.get(f"{video.stable}/master.m3u8")
    assert master.status == 200
    assert master.header("Content-Type") == "application/vnd.apple.mpegurl"
    assert master.header("Cache-Control") == STABLE
    assert master.header("X-Content-Type-Options") == "nosniff"
    found = set()
    for uri in uris(master.body):
        assert uri.startswith(f"{video.version}/")
        playlist = play.get(f"{video.stable}/{uri}")
        assert playlist.status == 200
        assert playlist.header("Content-Type") == "application/vnd.apple.mpegurl"
        assert playlist.header("Cache-Control") == FOREVER
        name = uri.split("/", 1)[1]
        assert playlist.body == video.files[name]
        for segment in uris(playlist.body):
            at = f"{name.rsplit('/', 1)[0]}/{segment}"
            answer = play.get(video.path(at))
            assert (answer.status, answer.header("Content-Type")) == (200, "video/mp2t")
            assert answer.header("Cache-Control") == FOREVER
            assert answer.body == video.files[at]
            found.add(at)
    assert found == {name for name in video.files if name.endswith(".ts")}


def test_the_versioned_master_is_the_stored_one(play, video):
    answer = play.get(video.path("master.m3u8"))
    assert (answer.status, answer.body) == (200, video.files["master.m3u8"])
    assert answer.header("Cache-Control") == FOREVER


def test_poster(play, video):
    for path, cache in ((f"{video.stable}/poster.jpg", STABLE), (video.path("poster.jpg"), FOREVER)):
        answer = play.get(path)
        assert (answer.status, answer.header("Content-Type")) == (200, "image/jpeg")
        assert answer.header("Cache-Control") == cache
        assert answer.body == video.files["poster.jpg"]


@pytest.mark.parametrize("name, kind", [
    ("a/index.m3u8", "application/vnd.apple.mpegurl"), ("a/seg.ts", "video/mp2t"), ("a/seg.m4s", "video/iso.segment"),
    ("a/init.mp4", "video/mp4"), ("a/en.vtt", "text/vtt"), ("a/x.jpg", "image/jpeg"),
    ("a/x.bin", "application/octet-stream")])
def test_content_types(dir_play, weir_dir, name, kind):
    video = Published(weir_dir.store, {name: b"#EXTM3U\n"}).publish()
    answer = dir_play.get(video.path(name))
    assert answer.status == 200
    assert answer.header("Content-Type").split(";")[0] == kind


def test_an_empty_object(play, weir):
    video = Published(weir.store, {"empty.ts": b""}).publish()
    answer = play.get(video.path("empty.ts"))
    assert (answer.status, answer.body, answer.header("Content-Length")) == (200, b"", "0")


# --- conditions and ranges, from memory and straight from the store ---


@pytest.fixture(params=["cached", "streamed"])
def thing(request, play, weir, big):
    """An object with its bytes; objects over 8 MiB never come into the cache."""
    data = big[:300_001] if request.param == "cached" else big
    video = Published(weir.store, {"v240/seg.ts": data}).publish()
    return play, video.path("v240/seg.ts"), data


def test_ranges(thing):
    play, path, data = thing
    size = len(data)
    for field, first, end in (("bytes=0-0", 0, 1), ("bytes=10-99", 10, 100), ("bytes=100000-", 100000, size),
                              ("bytes=-7", size - 7, size), (f"bytes={size - 1}-", size - 1, size),
                              (f"bytes=5-{size * 9}", 5, size), (f"bytes=-{size * 9}", 0, size)):
        answer = play.get(path, headers={"Range": field})
        assert answer.status == 206, field
        assert answer.header("Content-Range") == f"bytes {first}-{end - 1}/{size}", field
        assert answer.header("Content-Length") == str(end - first), field
        assert answer.body == data[first:end], field
        assert answer.header("Cache-Control") == FOREVER


def test_ranges_that_are_ignored(thing):
    play, path, data = thing
    for field in ("bytes=1-2,5-6", "bytes=9-3", "octets=0-5", "bytes=", "bytes=a-b", "0-5"):
        answer = play.get(path, headers={"Range": field})
        assert (answer.status, answer.header("Content-Range")) == (200, None), field
        assert answer.body == data, field


def test_ranges_that_can_not_be_satisfied(thing):
    play, path, data = thing
    for field in (f"bytes={len(data)}-", f"bytes={len(data) + 5}-{len(data) + 9}", "bytes=-0"):
        answer = play.get(path, headers={"Range": field})
        assert (answer.status, answer.problem) == (416, "range-not-satisfiable"), field
        assert answer.header("Content-Range") == f"bytes */{len(data)}", field


def test_if_range(thing):
    play, path, data = thing
    etag = play.request("HEAD", path).header("ETag")
    for condition, status in ((etag, 206), ('"another"', 200), (f"W/{etag}", 200),
                              ("Wed, 21 Oct 2026 07:28:00 GMT", 200)):
        answer = play.get(path, headers={"Range": "bytes=3-9", "If-Range": condition})
        assert answer.status == status, condition
        assert answer.body == (data[3:10] if status == 206 else data)


def test_if_none_match(thing):
    play, path, data = thing
    etag = play.get(path).header("ETag")
    assert re.fullmatch(r'"[^"]+"', etag)
    for condition, status in ((etag, 304), (f"W/{etag}", 304), (f'"x", {etag}', 304), ("*", 304), ('"x"', 200)):
        for method in ("GET", "HEAD"):
            answer = play.request(method, path, headers={"If-None-Match": condition, "Range": "bytes=0-1"})
            assert answer.status == (304 if status == 304 else 206), condition
        answer = play.get(path, headers={"If-None-Match": condition})
        assert answer.status == status
        assert answer.body == (b"" if status == 304 else data)
        assert (answer.header("ETag"), answer.header("Cache-Control")) == (etag, FOREVER)


def test_head_says_what_get_would(thing):
    play, path, data = thing
    get, head = play.get(path), play.request("HEAD", path)
    changing = {"date", "x-request-id"}
    assert head.body == b""
    assert ({k.lower(): v for k, v in head.headers.items() if k.lower() not in changing} ==
            {k.lower(): v for k, v in get.headers.items() if k.lower() not in changing})
    part = play.request("HEAD", path, headers={"Range": "bytes=2-4"})
    assert (part.status, part.header("Content-Length"), part.body) == (206, "3", b"")


def test_conditions_about_what_is_not_there(dir_play, dir_video):
    answer = dir_play.get(dir_video.path("v240/none.ts"), headers={"If-None-Match": "*"})
    assert answer.status == 404


# --- compression ---


def test_playlists_are_compressed(play, video):
    for path in (f"{video.stable}/master.m3u8", video.path("v240/index.m3u8")):
        plain = play.get(path, headers={"Accept-Encoding": "identity"})
        packed = play.get(path, headers={"Accept-Encoding": "gzip, deflate, br"})
        assert packed.header("Content-Encoding") == "gzip"
        assert plain.header("Content-Encoding") is None
        assert plain.header("Vary") == packed.header("Vary") == "Accept-Encoding"
        assert gzip.decompress(packed.body) == plain.body
        assert packed.header("ETag") != plain.header("ETag")
        again = play.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.header("ETag")})
        assert (again.status, again.header("Vary")) == (304, "Accept-Encoding")
        assert play.request("HEAD", path, headers={"Accept-Encoding": "gzip"}).header("Content-Length") == str(
            len(packed.body))
        assert play.get(path, headers={"Accept-Encoding": "gzip;q=0"}).header("Content-Encoding") is None
        part = play.get(path, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-6"})
        assert (part.status, part.body, part.header("Content-Encoding")) == (206, b"#EXTM3U", None)


def test_segments_are_not_compressed(play, video):
    answer = play.get(video.path("v240/seg_00000.ts"), headers={"Accept-Encoding": "gzip"})
    assert (answer.header("Content-Encoding"), answer.header("Vary")) == (None, None)


# --- other origins ---


def test_pages_of_other_origins_may_play(dir_play, dir_video):
    path = dir_video.path("v240/seg_00000.ts")
    preflight = dir_play.request("OPTIONS", path, headers={
        "Origin": "https://site.example", "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range"})
    assert preflight.status == 204
    assert preflight.header("Access-Control-Allow-Origin") == "*"
    assert "GET" in preflight.header("Access-Control-Allow-Methods")
    assert "range" in preflight.header("Access-Control-Allow-Headers").lower()
    assert int(preflight.header("Access-Control-Max-Age")) > 0
    for target in (path, f"{dir_video.stable}/master.m3u8", "/v/none/master.m3u8"):
        answer = dir_play.get(target, headers={"Origin": "https://site.example", "Range": "bytes=0-9"})
        assert answer.header("Access-Control-Allow-Origin") == "*"
        exposed = {name.strip() for name in answer.header("Access-Control-Expose-Headers").split(",")}
        assert {"Content-Length", "Content-Range", "ETag"} <= exposed


def test_other_methods(dir_play, dir_video):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = dir_play.request(method, f"{dir_video.stable}/master.m3u8")
        assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD, OPTIONS"), method


# --- what is not there ---


def test_what_is_missing_is_not_remembered_for_long(dir_play, dir_video):
    for path in (f"/v/{new_video_id()}/master.m3u8", f"/v/{new_video_id()}/poster.jpg",
                 f"/v/{new_video_id()}/{version_of(1)}/master.m3u8", "/v/v_1/master.m3u8",
                 f"{dir_video.stable}/1-2-3/master.m3u8", dir_video.path("v240/seg_99999.ts"),
                 dir_video.path("v240"), dir_video.path("v240/seg_00000.ts/x"), dir_video.path(".hidden"),
                 dir_video.path("a/b/c/d/e.ts"), dir_video.path("v240/" + "x" * 300)):
        answer = dir_play.get(path)
        assert (answer.status, answer.problem) == (404, "not-found"), path
        assert answer.header("Cache-Control") == ABSENT, path


def test_only_what_an_outcome_names_is_served(play, weir, files):
    video = Published(weir.store, files)
    loser, early = video.put_version(1, fence=6, nonce="f" * 16), video.put_version(2, nonce="e" * 16)
    unfinished = Published(weir.store, files)
    writing = unfinished.put_version(1)
    video.publish(1)
    for target, version in ((video, loser), (video, early), (unfinished, writing)):
        assert play.get(f"{target.stable}/{version}/master.m3u8").status == 404
        assert play.get(f"{target.stable}/{version}/v240/seg_00000.ts").status == 404
    assert play.get(f"{unfinished.stable}/master.m3u8").status == 404
    assert play.get(video.path("v240/seg_00000.ts")).status == 200


def test_records_are_out_of_reach(dir_play, dir_video):
    paths = [f"/v/.outcomes/{dir_video.id}/1.json", f"/v/{dir_video.id}/..%2f..%2fraw/.videos", "/v/../../etc/passwd",
             f"/v/{dir_video.id}/{dir_video.version}/../../../raw/x", f"/v/{dir_video.id}/{dir_video.version}/..%2f..%2fx",
             f"/v/{dir_video.id}/{dir_video.version}/%2e%2e/{dir_video.version}/master.m3u8",
             f"/v/{dir_video.id}/{dir_video.version}//master.m3u8", f"/v/{dir_video.id}/{dir_video.version}/a%00.ts",
             f"/v/{dir_video.id}/{dir_video.version}/%ff%fe.ts", f"/v/{dir_video.id}/{dir_video.version}/a\\b.ts",
             "/web/../routes.c", "/web/%2e%2e/watch.html", "/web/none.js", "/v/%", "/v/" + "a" * 5000]
    for path in paths:
        raw = send_raw(dir_play.url, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status = int(raw.split(b" ", 2)[1])
        assert status in (400, 404), (path, raw[:300])
        assert b"root:" not in raw
    assert dir_play.get("/healthz").status == 200


# --- change ---


def test_a_newer_generation_takes_over(play, weir, files):
    video = Published(weir.store, files).publish(1)
    first = video.version
    assert uris(play.get(f"{video.stable}/master.m3u8").body)[0].startswith(first)
    etag = play.get(f"{video.stable}/master.m3u8").header("ETag")
    video.publish(2, nonce="a" * 16)
    wait_for(lambda: uris(play.get(f"{video.stable}/master.m3u8").body)[0].startswith(video.version), 5, "the new version")
    assert play.get(f"{video.stable}/master.m3u8", headers={"If-None-Match": etag}).status == 200
    assert play.get(f"{video.stable}/{first}/master.m3u8").status == 200  # players may be in the middle of it
    video.put_outcome(3, outcome="failed", error="Nothing in it can be decoded.")
    video.put_outcome(4, outcome="cancelled")
    video.put_version(5)
    for _ in range(2):
        assert uris(play.get(f"{video.stable}/master.m3u8").body)[0].startswith(video.version)
        assert wait_for(lambda: play.metric('weir_play_cache_total{result="hit"}'), 5)


def test_a_new_video_is_there_soon(play, weir, files):
    video = Published(weir.store, files)
    assert play.get(f"{video.stable}/master.m3u8").status == 404
    video.publish()
    wait_for(lambda: play.get(f"{video.stable}/master.m3u8").status == 200, 2, "the video")


def test_a_deleted_video_is_gone_within_five_seconds(play, video):
    paths = [f"{video.stable}/master.m3u8", f"{video.stable}/poster.jpg", video.path("master.m3u8"),
             video.path("v240/seg_00000.ts")]
    assert all(play.get(path).status == 200 for path in paths)
    video.mark_deleted()  # the objects still stand
    wait_for(lambda: all(play.get(path).status == 404 for path in paths), 5, "everything to be gone", every=0.2)
    assert all(play.get(path, headers={"If-None-Match": "*"}).status == 404 for path in paths)


# --- the page and what it asks for ---


def test_the_page(dir_play, dir_video):
    page = dir_play.get(f"/watch/{dir_video.id}")
    assert (page.status, page.header("Content-Type")) == (200, "text/html; charset=utf-8")
    assert page.header("Cache-Control") == "no-cache"
    found = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert all(path.startswith(("/web/", "data:")) for path in found), "nothing from another host"
    for path in [path for path in found if path.startswith("/web/")]:
        plain, packed = dir_play.get(path), dir_play.get(path, headers={"Accept-Encoding": "gzip"})
        assert plain.status == packed.status == 200
        assert gzip.decompress(packed.body) == plain.body
        again = dir_play.get(path, headers={"If-None-Match": plain.header("ETag")})
        assert again.status == 304
    assert dir_play.request("HEAD", f"/watch/{dir_video.id}").status == 200


def test_the_state_of_a_video_without_an_index(dir_play, dir_video, weir_dir):
    """The store alone knows whether a video can be played, also when Redis has lost it or is away."""
    status = dir_play.get(f"{dir_video.stable}/status.json")
    assert (status.status, status.json()["state"], status.json()["playable"]) == (200, "completed", True)
    assert status.header("Cache-Control") == "no-store"
    weir_dir.redis.kill()
    assert dir_play.get(f"{dir_video.stable}/status.json").json()["playable"] is True
    assert dir_play.get(f"{dir_video.stable}/master.m3u8").status == 200
    unknown = dir_play.get(f"/v/{new_video_id()}/status.json")
    assert unknown.status == 503, "it may be on its way: nobody can know"
    assert int(unknown.header("Retry-After")) > 0


def test_readiness_and_metrics(dir_play, dir_video):
    dir_play.get(dir_video.path("v240/seg_00000.ts"))
    assert dir_play.get("/healthz").status == dir_play.get("/readyz").status == 200
    assert dir_play.metric('weir_play_cache_total{result="miss"}') >= 1
    assert dir_play.metric("weir_play_cache_bytes") > len(dir_video.files["v240/seg_00000.ts"])


def test_keep_alive_right_after_refusals(dir_play, dir_video):
    """One connection: not found, not satisfiable, not modified, and then a whole answer."""
    path = dir_video.path("v240/seg_00000.ts")
    etag = request(dir_play.url, "HEAD", path).header("ETag")
    parts = [f"GET /v/x/master.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n",
             f"GET {path} HTTP/1.1\r\nHost: x\r\nRange: bytes=999999999-\r\n\r\n",
             f"GET {path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {etag}\r\n\r\n",
             f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n",
             f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
    raw = send_raw(dir_play.url, "".join(parts).encode())
    assert re.findall(rb"HTTP/1\.1 (\d+)", raw) == [b"404", b"416", b"304", b"200", b"200"]
    assert raw.endswith(dir_video.files["v240/seg_00000.ts"])
