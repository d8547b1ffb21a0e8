"""Uploads by tus where Weir has rules of its own: whose an upload is, what becomes of it, limits, JSON."""

import json
import os
import re
import time

import pytest

from weirtest import wait_for
from weirtest.tus import OFFSET_STREAM, Client, checksum, metadata
from weirtest.tus_servers import ENDPOINT, upload_id, video_id

MIB = 1024 * 1024
PARTIAL = {"Upload-Concat": "partial"}


def client_of(api, **kwargs):
    return Client(api.url + ENDPOINT, **kwargs)


def expect_nothing_left(weir, url):
    """No byte, no part, no name: at most the emptied skeleton of the log and the marker."""
    name = video_id(url)

    def left():
        keys = [key for key in weir.raw_keys() if name in key and not key.startswith(f".uploads/{name}/log/")]
        return [key for key in keys if key != f".videos/{name}.deleted"], weir.store.multipart_uploads()
    wait_for(lambda: left() == ([], []), 20, f"nothing to be left, but there is {left()}")
    skeleton = b"".join(weir.store.get(weir.store.raw, key) for key in weir.raw_keys(f".uploads/{name}/log/"))
    assert b"clip" not in skeleton and b"A title" not in skeleton, skeleton
    assert weir.video(name) is None
    assert name not in str(weir.redis.call("ZRANGE", "{weir}:videos", 0, -1))


# --- whose it is ---

def test_the_url_ends_in_id_and_secret(tus):
    url = tus.create(3)
    match = re.fullmatch(r"(v_[0-9a-z]{26})~([0-9A-Za-z_-]{22,})", upload_id(url))
    assert match, url
    assert upload_id(tus.create(3)).split("~")[1] != match.group(2)


@pytest.mark.parametrize("finished", [False, True])
def test_without_the_secret_there_is_nothing(tus, tus_server, finished):
    url = tus.create(3)
    if finished:
        tus.patch(url, 0, b"abc")
    base, name = url.rsplit("/", 1)
    secret = name.split("~")[1]
    other = tus.create(3).rsplit("~")[1]
    for wrong in (video_id(url), f"{video_id(url)}~", f"{video_id(url)}~{secret[:-1]}", f"{video_id(url)}~{secret}0",
                  f"{video_id(url)}~{secret[::-1]}", f"{video_id(url)}~{other}", f"~{secret}", secret):
        nobody = f"{base}/{wrong}"
        for answer in (tus.head(nobody), tus.patch(nobody, 0, b"x"), tus.delete(nobody), tus.get(nobody)):
            assert answer.status == 404, (wrong, answer)
    assert tus.offset(url) == (3 if finished else 0)
    assert tus_server.weir.video(video_id(url))["state"] == ("waiting" if finished else "uploading")


def test_the_secret_is_kept_nowhere(weir):
    api = weir.start_api()
    tus = client_of(api)
    url = tus.create(20 * MIB, {"Upload-Metadata": metadata(filename="clip.mp4")})
    data = os.urandom(20 * MIB)
    tus.patch(url, 0, data[:9 * MIB])
    secret = upload_id(url).split("~")[1].encode()
    for _ in range(2):
        assert not any(secret in weir.store.get(weir.store.raw, key) for key in weir.raw_keys())
        for key in weir.redis.call("KEYS", "*"):
            assert secret.decode() not in key + str(weir.redis.call("DUMP", key))
        tus.patch(url, 9 * MIB, data[9 * MIB:])
    assert secret.decode() not in api.log


# --- what becomes of it ---

def test_a_finished_upload_is_a_video_that_waits(tus, tus_server):
    weir = tus_server.weir
    url = tus.create(6, {"Upload-Metadata": metadata(filename="clip é.mp4", title="A title", description="two\nlines")})
    video = weir.video(video_id(url))
    assert (video["state"], video["title"]) == ("uploading", "A title")
    tus.patch(url, 0, b"abc")
    assert weir.video(video_id(url))["state"] == "uploading"
    tus.patch(url, 3, b"def")
    video = weir.video(video_id(url))
    assert (video["state"], video["size"], video["filename"]) == ("waiting", 6, "clip é.mp4")
    assert (video["title"], video["description"]) == ("A title", "two\nlines")
    assert weir.redis.call("ZSCORE", "{weir}:open", video_id(url) + ".1")


@pytest.mark.parametrize("texts", [{"filename": "x" * 256}, {"title": "x" * 201}, {"title": "a\x1bb"}, {"filename": "a\0b"}])
def test_texts_that_are_refused(tus, texts):
    answer = tus.post(3, {"Upload-Metadata": metadata(**texts)})
    assert answer.status == 400 and answer.header("Location") is None, answer


def test_16_however_often_it_ends_there_is_one_job(weir_dir):
    tus = client_of(weir_dir.start_api())
    url = tus.upload(b"abcdef")
    for _ in range(3):
        assert tus.patch(url, 6, b"").status == 204
        assert tus.offset(url) == 6
    assert weir_dir.redis.call("ZCARD", "{weir}:open") == 1
    assert weir_dir.redis.call("LLEN", "{weir}:wait:default:1") == 1
    assert weir_dir.redis.call("ZCARD", "{weir}:admitted") == 0
    assert weir_dir.redis.call("ZCARD", "{weir}:finishing") == 0


def test_12_a_finished_upload_is_not_deleted_by_its_url(tus, tus_server):
    url = tus.upload(b"abc")
    assert tus.delete(url).status == 403
    assert tus.offset(url) == 3
    assert tus_server.weir.video(video_id(url))["state"] == "waiting"


@pytest.mark.parametrize("sent", [0, 100, 9 * MIB])
def test_12_a_deleted_upload_leaves_nothing(weir, sent):
    tus = client_of(weir.start_api())
    url = tus.create(20 * MIB, {"Upload-Metadata": metadata(filename="clip.mp4", title="A title")})
    if sent:
        tus.patch(url, 0, os.urandom(sent))
    assert tus.delete(url).status == 204
    assert tus.head(url).status in (404, 410)
    expect_nothing_left(weir, url)


def test_a_deleted_video_has_no_upload(tus, tus_server):
    weir = tus_server.weir
    for size in (3, 10):
        url = tus.create(size)
        tus.patch(url, 0, b"abc")
        assert weir.api().request("DELETE", f"/api/v1/videos/{video_id(url)}").status == 204
        for answer in (tus.head(url), tus.patch(url, 3, b"d")):
            assert answer.status in (404, 410), answer
            assert answer.header("Upload-Offset") is None


def test_13_partials_are_no_videos(tus, tus_server):
    weir = tus_server.weir
    urls = [tus.upload(piece, PARTIAL) for piece in (b"one", b"two")]
    assert all(weir.video(video_id(url)) is None for url in urls)
    assert not {video_id(url) for url in urls} & {video["id"] for video in weir.videos("?limit=200")}
    url = tus.create(None, {"Upload-Concat": "final;" + " ".join(urls), "Upload-Metadata": metadata(filename="clip.mp4")})
    video = weir.video(video_id(url))
    assert (video["state"], video["size"], video["filename"]) == ("waiting", 6, "clip.mp4")
    assert weir.source(video_id(url)) == b"onetwo"
    assert tus.delete(url).status == 403
    for url in urls:  # gone with the final
        wait_for(lambda: not [k for k in weir.raw_keys(f".uploads/{video_id(url)}/") if "/log/" not in k], 15, "partials to go")


def test_13_a_final_whose_answer_was_lost(weir_dir):
    """The same again is refused, and the video is found by its name."""
    tus = client_of(weir_dir.start_api())
    parts = [tus.upload(text, PARTIAL) for text in (b"abc", b"defg")]
    final = {"Upload-Concat": f"final;{' '.join(parts)}", "Upload-Metadata": metadata(filename="clip.mp4", title="Mine")}
    assert tus.post(None, final).status == 201
    again = tus.post(None, final)
    assert again.status == 400 and "GET /api/v1/videos" in detail(again), again
    video, = weir_dir.videos()
    assert (video["filename"], video["title"], video["size"]) == ("clip.mp4", "Mine", 7)


def test_a_plain_client_is_told_where_the_video_is(tus):
    """The API's own clients need not take the upload's URL apart."""
    url = tus.upload(b"abc")
    shown = json.loads(tus.get(url).body)
    assert shown["video"] == video_id(url)


# --- GET ---

def shown(tus, url):
    answer = tus.request("GET", url, {"Tus-Resumable": None}, checked=False)
    assert answer.status == 200 and answer.header("Content-Type").startswith("application/json"), answer
    return json.loads(answer.body)


def test_get_tells_what_is_there_and_what_is_missing(tus):
    url = tus.create(20 * MIB)
    found = shown(tus, url)
    assert (found["offset"], found["length"], found["parts"], found["missing"]) == (0, 20 * MIB, [], [[0, 20 * MIB]])
    assert (found["video"], found["state"]) == (video_id(url), "uploading")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", found["expires_at"]), found
    data = os.urandom(20 * MIB)
    tus.patch(url, 0, data[:9 * MIB])
    found = shown(tus, url)
    assert (found["offset"], found["missing"]) == (9 * MIB, [[9 * MIB, 20 * MIB]])
    assert found["parts"], found
    end = 0
    for part in found["parts"]:
        assert part["offset"] == end and part["size"] > 0, found
        end += part["size"]
    assert 8 * MIB <= end <= 9 * MIB
    tus.patch(url, 9 * MIB, data[9 * MIB:])
    found = shown(tus, url)
    assert (found["offset"], found["length"], found["missing"]) == (20 * MIB, 20 * MIB, [])
    assert (found["video"], found["state"]) == (video_id(url), "finished")


def test_get_of_an_upload_of_unknown_length(tus):
    url = tus.create(None, {"Upload-Defer-Length": "1"})
    tus.patch(url, 0, b"abc")
    found = shown(tus, url)
    assert (found["offset"], found["length"]) == (3, None)


def test_the_size_of_a_video_is_not_known_before_its_end(tus, tus_server):
    url = tus.create(6)
    tus.patch(url, 0, b"abc")
    assert tus_server.weir.video(video_id(url))["size"] is None
    tus.patch(url, 3, b"def")
    assert tus_server.weir.video(video_id(url))["size"] == 6


@pytest.mark.parametrize("method", ["PUT", "POST", "LOCK"])
def test_01_also_what_is_not_for_this_method_is_tus(tus, method):
    """`request` holds every answer to rule 1."""
    answer = tus.request(method, tus.create(3), {"Content-Length": "0"})
    assert answer.status == 405 and "patch" in answer.list("Allow"), answer
    answer = tus.request("PATCH", None, {"Content-Length": "0"})
    assert answer.status == 405 and "post" in answer.list("Allow"), answer


def test_get_of_what_is_gone(tus):
    url = tus.create(3)
    tus.delete(url)
    assert tus.get(url).status in (404, 410)


# --- 11: expiry ---

def test_11_abandoned_uploads_go_without_a_trace(weir):
    tus = client_of(weir.start_api(UPLOAD_EXPIRY_S=2, GC_DAYS=1))
    urls = []
    for sent in (0, 100, 9 * MIB):
        urls.append(tus.create(20 * MIB, {"Upload-Metadata": metadata(filename="clip.mp4", title="A title")}))
        if sent:
            tus.patch(urls[-1], 0, os.urandom(sent))
    urls += [tus.upload(b"x" * 100, PARTIAL), tus.upload(b"x" * 9 * MIB, PARTIAL)]
    wait_for(lambda: all(tus.head(url).status == 410 for url in urls), 15, "them to expire", every=0.2)
    assert all(tus.patch(url, 0, b"x").status == 410 for url in urls)
    assert all(tus.delete(url).status in (404, 410) for url in urls[:1])
    collect(weir)
    for url in urls:
        expect_nothing_left(weir, url)
        assert tus.head(url).status == 410


def collect(weir):
    status, log = weir.run_api("--reconcile-once", UPLOAD_EXPIRY_S=2)
    assert status == 0, log


def test_11_a_finished_upload_does_not_expire(weir_dir):
    tus = client_of(weir_dir.start_api(UPLOAD_EXPIRY_S=1))
    url = tus.upload(b"abc")
    open_one = tus.create(3)
    wait_for(lambda: tus.head(open_one).status == 410, 15, "the other one to expire", every=0.2)
    collect(weir_dir)
    assert tus.offset(url) == 3
    assert weir_dir.source(video_id(url)) == b"abc"


def test_11_the_end_is_absolute(weir_dir):
    """Bytes do not put it off: a store may forget an upload so long after its start."""
    tus = client_of(weir_dir.start_api(UPLOAD_EXPIRY_S=3))
    url = tus.create(MIB)
    before, offset, answer = time.monotonic(), 0, None
    while time.monotonic() < before + 10:
        answer = tus.patch(url, offset, b"x" * 100)
        if answer.status != 204:
            break
        offset += 100
        time.sleep(0.1)
    assert answer.status == 410, answer


# --- limits ---

def expect_busy(answer):
    assert answer.status == 503, answer
    assert int(answer.header("Retry-After")) > 0
    assert answer.interim == []


def detail(answer):
    return json.loads(answer.body)["detail"]


def test_a_full_queue_refuses_before_the_body(weir_dir):
    tus = client_of(weir_dir.start_api(QUEUE_MAX=2))
    done, open_one = tus.upload(b"abc"), tus.create(5 * MIB)
    assert tus.patch(open_one, 0, b"12345").offset == 5
    tus.upload(b"def")
    expect_busy(tus.post(3))
    expect_busy(tus.post(3, body=b"abc"))
    with tus.line() as line:
        tus.send_on(line, "POST", None, {"Upload-Length": "9", "Content-Length": "9", "Expect": "100-continue",
                                         "Content-Type": OFFSET_STREAM})
        expect_busy(line.answer())
    expect_busy(tus.patch(open_one, 5, b"6789"))
    with tus.open_patch(open_one, 5, 4 * MIB, {"Expect": "100-continue"}) as line:
        expect_busy(line.answer())
    assert tus.offset(open_one) == 5
    assert tus.patch(done, 3, b"").status == 204, "what is uploaded is uploaded"
    assert weir_dir.api().request("DELETE", f"/api/v1/videos/{video_id(done)}").status == 204
    assert tus.patch(open_one, 5, b"6789").offset == 9


def test_a_writer_keeps_its_place_in_the_queue(weir_dir):
    """What was let in can end, though the queue is full by then."""
    tus = client_of(weir_dir.start_api(QUEUE_MAX=1))
    url = tus.create(6)
    with tus.open_patch(url, 0, 6) as line:
        line.send(b"abc")
        wait_for(lambda: tus.offset(url) == 3, 10, "the beginning")
        expect_busy(tus.post(3))
        line.send(b"def")
        assert line.answer().status == 204
    assert weir_dir.video(video_id(url))["state"] == "waiting"


@pytest.mark.parametrize("setting", ["CREATIONS_PER_MINUTE", "UPLOADS_PER_CLIENT"])
def test_limits_of_a_client_are_503(weir_dir, setting):
    """tus-js-client would give up for good on 429."""
    tus = client_of(weir_dir.start_api(**{setting: 3}))
    answers = [tus.post(3) for _ in range(8)]
    created = [answer for answer in answers if answer.status == 201]
    assert 3 <= len(created) <= 6, "a minute may have begun in between"
    for answer in answers:
        if answer.status != 201:
            expect_busy(answer)
            assert re.search(rf" 3 .*\({setting}\).*\. .*try again", detail(answer), re.IGNORECASE), answer
    assert tus.patch(tus.location(created[-1]), 0, b"abc").status == 204, "what there is can go on"


def test_the_limit_of_all_clients_is_named(weir_dir):
    tus = client_of(weir_dir.start_api(UPLOADS_MAX=1, UPLOADS_PER_CLIENT=1, TRUSTED_PROXIES="127.0.0.1"))
    assert tus.post(3, {"X-Forwarded-For": "198.51.100.1"}).status == 201
    for client, setting in (("198.51.100.1", "UPLOADS_PER_CLIENT"), ("198.51.100.2", "UPLOADS_MAX")):
        answer = tus.post(3, {"X-Forwarded-For": client})
        expect_busy(answer)
        assert f"({setting})" in detail(answer) and " 1 " in detail(answer), answer


# --- what the log says ---

def test_ordinary_pieces_are_not_told_of(weir_dir):
    """One line each for the creation, a piece that broke off, the end, a deletion."""
    api = weir_dir.start_api(LOG_LEVEL="info", LOG_FORMAT="json")
    tus = client_of(api)
    url = tus.create(9)
    assert tus.patch(url, 0, b"abc").offset == 3
    with tus.open_patch(url, 3, 6) as line:
        line.send(b"d")
    wait_for(lambda: "upload interrupted" in api.log, 10, "the interruption to be told of")
    with tus.open_patch(url, 4) as line:
        line.send(b"zz\r\n")
        assert line.answer().status == 400
    assert tus.patch(url, 4, b"efghi").offset == 9
    assert tus.delete(tus.create(9)).status == 204
    api.stop()
    lines = [json.loads(line) for line in api.log.splitlines() if line.startswith("{")]
    told = [(line["message"], line.get("from"), line.get("to"), line.get("bytes")) for line in lines
            if line.get("video") == video_id(url)]
    assert told == [("upload created", None, None, None), ("upload interrupted", 3, 4, None),
                    ("upload interrupted", 4, 4, None), ("upload finished", None, None, 9)]
    assert [line["message"] for line in lines if line.get("request") and line.get("video") != video_id(url)] == [
        "upload created", "upload deleted"]


@pytest.mark.parametrize("trusted", [None, "127.0.0.1"])
def test_the_client_behind_a_proxy(weir_dir, trusted):
    """Only who is trusted may say for whom it asks."""
    tus = client_of(weir_dir.start_api(UPLOADS_PER_CLIENT=2, TRUSTED_PROXIES=trusted))
    answers = [tus.post(3, {"X-Forwarded-For": f"203.0.113.{n}"}).status for n in range(4)]
    assert answers == ([201] * 4 if trusted else [201, 201, 503, 503])
    answers = [tus.post(3, {"X-Forwarded-For": "198.51.100.1"}).status for _ in range(3)]
    assert answers == ([201, 201, 503] if trusted else [503] * 3)


def test_metadata_is_counted_not_trusted(tus):
    """As many keys as fit in a header, and values that are no text."""
    many = ",".join(f"k{n}" for n in range(1000))
    assert tus.post(3, {"Upload-Metadata": many}).status in (201, 400, 413)
    assert tus.post(3, {"Upload-Metadata": "filename /////w=="}).status == 400, "no UTF-8"
    assert tus.post(3, {"Upload-Metadata": "thumbnail /////w=="}).status == 201, "only names that mean something do"


def test_a_silent_client_is_cut_off_and_its_bytes_kept(weir_dir):
    tus = client_of(weir_dir.start_api(UPLOAD_IDLE_TIMEOUT_MS=500))
    data = os.urandom(MIB)
    url = tus.create(MIB)
    with tus.open_patch(url, 0, MIB) as line:
        line.send(data[:100_000])
        before = time.monotonic()
        line.wait_until_closed()
        assert 0.3 < time.monotonic() - before < 5
    assert tus.offset(url) == 100_000
    assert tus.patch(url, 100_000, data[100_000:]).offset == MIB
    assert weir_dir.source(video_id(url)) == data


# --- pages of other origins ---

def test_14_only_origins_that_are_named(weir_dir):
    tus = client_of(weir_dir.start_api(CORS_ORIGINS="https://a.example,https://b.example:8443"))
    for origin in ("https://a.example", "https://b.example:8443"):
        for answer in (tus.post(3, {"Origin": origin}), tus.options(None, {"Origin": origin,
                                                                          "Access-Control-Request-Method": "PATCH"})):
            assert answer.header("Access-Control-Allow-Origin") == origin, answer
            assert answer.header("Access-Control-Allow-Credentials") == "true"
            assert "origin" in answer.list("Vary")
    for origin in ("https://a.example.evil", "http://a.example", "https://b.example", "null"):
        answer = tus.request("POST", None, {"Origin": origin, "Upload-Length": "3", "Content-Length": "0"})
        assert answer.status == 403, answer
        assert answer.header("Access-Control-Allow-Origin") is None, answer
        assert answer.header("Access-Control-Allow-Credentials") is None


def test_14_any_origin_is_the_default(weir_dir):
    tus = client_of(weir_dir.start_api())
    answer = tus.post(3, {"Origin": "https://page.example"})
    assert answer.header("Access-Control-Allow-Origin") in ("*", "https://page.example"), answer
    if answer.header("Access-Control-Allow-Origin") == "*":
        assert answer.header("Access-Control-Allow-Credentials") is None
    else:
        assert "origin" in answer.list("Vary")


# --- the settings ---

def test_the_memory_must_hold_four_parts(weir_dir):
    status, log = weir_dir.run_api("--check-config", UPLOAD_MEMORY="31MiB")
    assert status == 2 and "UPLOAD_MEMORY" in log, log
    status, log = weir_dir.run_api("--check-config", UPLOAD_MEMORY="32MiB", UPLOAD_MAX_SIZE="50GiB")
    assert status == 0, log
    status, log = weir_dir.run_api("--check-config", UPLOAD_MEMORY="32MiB", UPLOAD_MAX_SIZE="100GiB")
    assert status == 2 and "UPLOAD_MEMORY" in log, log


def test_problems_are_json(tus):
    """Weir's own clients can read why."""
    answer = tus.patch(tus.create(3), 1, b"x")
    assert answer.status == 409 and answer.header("Content-Type") == "application/problem+json", answer
    problem = json.loads(answer.body)
    assert problem["status"] == 409 and problem["request_id"] == answer.header("X-Request-ID")
    wrong = {"Upload-Checksum": checksum("md5", b"y")}
    assert json.loads(tus.patch(tus.create(3), 0, b"x", wrong).body)["status"] == 460
