"""Bad input gets a clear answer, and nothing is left of it. The server's own refusals (smuggling, floods, slow clients)
are tested in test_http_*.py; here is what the upload form makes of a body."""

import os
import socket
import threading
import time
import urllib.parse

import pytest

from weirtest import multipart, send_raw, wait_for

MIB = 1024 * 1024
FORM = "multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\ndata\r\n'
EMPTY = FILE.replace(b"\r\ndata\r\n", b"\r\n\r\n")
TITLE = b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nhello\r\n'
END = b"--b--\r\n"


def expect_nothing_left(weir):
    """No record, no source, no multipart upload, no entry in the index, no reservation."""
    def left():
        keys = [key for key in weir.raw_keys() if not key.startswith(".uploads/")]
        return keys, weir.store.multipart_uploads(), weir.videos(), weir.redis.call("ZCARD", "{weir}:admitted")
    wait_for(lambda: left() == ([], [], [], 0), 10, f"nothing to be left, but there is {left()}")
    for key in weir.raw_keys(".uploads/"):
        last = [k for k in weir.raw_keys(key.rsplit("/", 1)[0])][-1]
        assert b'"closed"' in weir.store.get(weir.store.raw, last)


def post_raw(api, body, content_type=FORM):
    headers = {"Content-Type": content_type} if content_type else {}
    return api.request("POST", "/api/v1/upload", body=body, headers=headers)


@pytest.mark.parametrize("content_type, body, status, sentence", [
    (None, FILE + END, 400, "multipart/form-data"),
    ("application/json", b"{}", 400, "multipart/form-data"),
    ("multipart/form-data", FILE + END, 400, "boundary"),
    ("multipart/form-data; boundary=", FILE + END, 400, "malformed"),
    (FORM, b"", 400, ""),
    (FORM, b"no form at all", 400, ""),
    (FORM, END, 400, 'no field "video"'),
    (FORM, TITLE + END, 400, 'no field "video"'),
    (FORM, b"--b\r\nContent-Disposition form-data\r\n\r\nx\r\n" + END, 400, ""),
    (FORM, b"--b\r\n\r\nx\r\n" + END, 400, ""),
    (FORM, b"--b\r\n" + b"X-Long: " + b"x" * 9000 + b"\r\n\r\nx\r\n" + END, 400, ""),
    (FORM, b'--b\r\nContent-Disposition: form-data; name="video"\r\n\r\nno file\r\n' + END, 400, "must be a file"),
    (FORM, FILE.replace(b'"video"', b'"movie"') + END, 400, '"video"'),
    (FORM, FILE + FILE + END, 400, "more than one file"),
    (FORM, EMPTY + END, 400, "empty"),
    (FORM, EMPTY.replace(b'"a.mp4"', b'""') + END, 400, "empty"),
    (FORM, FILE, 400, ""),                       # no closing boundary
    (FORM, FILE[:-6], 400, ""),                  # cut in the file
    (FORM, FILE + TITLE + END, 400, "before"),
    (FORM, TITLE + TITLE + FILE + END, 400, "twice"),
    (FORM, TITLE.replace(b"hello", b"x" * 201) + FILE + END, 400, "title"),
    (FORM, TITLE.replace(b"hello", b"x" * 100_000) + FILE + END, 400, "title is too long"),
    (FORM, TITLE.replace(b"hello", b"\xff") + FILE + END, 400, "UTF-8"),
    (FORM, TITLE.replace(b"hello", b"a\x00b") + FILE + END, 400, "NUL"),
    (FORM, TITLE.replace(b"hello", b"a\x1bb") + FILE + END, 400, "control character"),
    (FORM, FILE.replace(b"a.mp4", b"x" * 256) + END, 400, "filename"),
    (FORM, b"".join(b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n' for _ in range(40)) + END, 400, ""),
])
def test_a_bad_form_gets_a_clear_answer(api_dir, content_type, body, status, sentence):
    weir, api = api_dir
    answer = post_raw(api, body, content_type)
    assert answer.status == status, answer
    assert answer.problem == "invalid"
    assert sentence in answer.json()["detail"]
    assert answer.json()["request_id"] == answer.header("X-Request-ID")
    expect_nothing_left(weir)


@pytest.fixture(scope="module")
def api_dir(tmp_path_factory):
    """One api for all bad forms: none of them may hurt the next."""
    from conftest import run_weir
    from weirtest import DirStore, RedisServer
    folder = tmp_path_factory.mktemp("api")
    redis = RedisServer(folder / "redis").start()
    try:
        for weir in run_weir(folder, DirStore(folder / "store"), redis):
            yield weir, weir.start_api()
    finally:
        redis.stop()


def test_fields_that_nobody_asked_for_are_let_pass(api_dir):
    weir, api = api_dir
    body, content_type = multipart([("csrf", "x" * 10000), ("title", "t"), ("video", "a.mp4", b"data"), ("more", "y")])
    answer = post_raw(api, body, content_type)
    assert answer.status == 201, answer
    assert weir.source(answer.json()["id"]) == b"data"
    assert api.request("DELETE", answer.header("Location")).status == 204


@pytest.mark.parametrize("path, method, status, allow", [
    ("/api/v1/upload", "GET", 405, "POST"),
    ("/api/v1/videos", "PUT", 405, "GET"),
    ("/api/v1/nothing", "GET", 404, None),
    ("/api/v1/videos/v_x", "GET", 404, None),
    ("/api/v1/videos/v_01arz3ndektsv4rrffq69g5fav", "GET", 404, None),
    ("/api/v1/videos/v_01arz3ndektsv4rrffq69g5fav", "DELETE", 404, None),
    ("/api/v1/videos/v_01arz3ndektsv4rrffq69g5fav/retry", "POST", 404, None),
    ("/api/v1/videos/v_01arz3ndektsv4rrffq69g5fav/cancel", "POST", 404, None),
    ("/api/v1/videos?limit=0", "GET", 400, None),
    ("/api/v1/videos?limit=201", "GET", 400, None),
    ("/api/v1/videos?limit=x", "GET", 400, None),
    ("/api/v1/videos?limit=99999999999999999999", "GET", 400, None),
    ("/api/v1/videos?limit=%zz", "GET", 400, None),
    ("/api/v1/videos?limit=%ff", "GET", 400, None),
    ("/api/v1/videos?state=happy", "GET", 400, None),
    ("/api/v1/videos?state=" + "x" * 100, "GET", 400, None),
    ("/api/v1/videos?cursor=nonsense", "GET", 400, None),
    ("/api/v1/videos?cursor=" + "1" * 100, "GET", 400, None),
])
def test_wrong_requests(api_dir, path, method, status, allow):
    answer = api_dir[1].request(method, path)
    assert answer.status == status, answer
    assert answer.problem
    if allow:
        assert allow in answer.header("Allow")


def test_too_large_is_said_before_the_body(weir_dir):
    api = weir_dir.start_api(UPLOAD_MAX_SIZE="1MiB", UPLOAD_MEMORY="64MiB")
    head = (f"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {2 * MIB}\r\n"
            "Expect: 100-continue\r\n\r\n")
    answer = send_raw(api.url, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert b"100 Continue" not in answer
    expect_nothing_left(weir_dir)


def test_too_large_by_a_byte_is_found_out_on_the_way(weir):
    api = weir.start_api(UPLOAD_MAX_SIZE="9MiB", UPLOAD_MEMORY="64MiB")
    assert weir.upload(os.urandom(9 * MIB))["size"] == 9 * MIB
    answer = weir.post([("video", "a.mp4", os.urandom(9 * MIB + 1))])
    assert (answer.status, answer.problem) == (413, "too-large")
    assert len(weir.videos(api=api)) == 1
    assert weir.store.multipart_uploads() == []


def open_upload(api, size, sent):
    """A connection on which `sent` of `size` bytes of a file have been sent."""
    head = b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    length = len(head) + size + len(b"\r\n" + END)
    parts = urllib.parse.urlsplit(api.url)
    s = socket.create_connection((parts.hostname, parts.port), 30)
    s.sendall(f"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {length}\r\n\r\n"
              .encode() + head + os.urandom(sent))
    return s


@pytest.mark.parametrize("sent", [0, 100, 9 * MIB])
def test_a_client_that_goes_away_leaves_nothing(weir, sent):
    api = weir.start_api()
    s = open_upload(api, 20 * MIB, sent)
    if sent:
        wait_for(lambda: len(weir.videos("?state=uploading")) == 1, 10, "the upload to have begun")
    s.close()
    wait_for(lambda: weir.redis.call("ZCARD", "{weir}:admitted") == 0, 10, "the reservation to go")
    expect_nothing_left(weir)


def test_a_client_that_stops_sending_is_cut_off(weir_dir):
    api = weir_dir.start_api(UPLOAD_IDLE_TIMEOUT_MS=1000)
    with open_upload(api, 20 * MIB, 100_000) as s:
        s.settimeout(10)
        assert s.recv(65536).startswith(b"HTTP/1.1 408 ")
    expect_nothing_left(weir_dir)


def test_many_slow_clients_leave_room_for_health_checks_and_an_upload(weir_dir):
    api = weir_dir.start_api(UPLOADS_PER_CLIENT=400, TRUSTED_PROXIES="127.0.0.1")
    clients = [open_upload(api, 20 * MIB, 10) for _ in range(300)]
    try:
        for path in ("/healthz", "/readyz", "/metrics"):
            before = time.monotonic()
            assert api.get(path, timeout=5).status == 200
            assert time.monotonic() - before < 5
    finally:
        for s in clients:
            s.close()
    wait_for(lambda: api.metric("weir_uploads_live") == 0, 20, "the slow clients to be gone")
    assert weir_dir.upload(b"data")["state"] == "waiting"


def test_a_full_queue_refuses_before_the_body_and_accepts_later(weir):
    api = weir.start_api("-q", "1")
    first = weir.upload(b"first")
    head = (f"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 1000000\r\n"
            "Expect: 100-continue\r\n\r\n")
    answer = send_raw(api.url, head.encode())
    assert answer.startswith(b"HTTP/1.1 503 ") and b"100 Continue" not in answer, answer
    assert b"Retry-After: " in answer and b"queue-full" in answer
    assert weir.video(first["id"])["state"] == "waiting"
    assert api.request("POST", f"/api/v1/videos/{first['id']}/cancel").status == 200
    assert weir.upload(b"second")["state"] == "waiting"


def test_what_was_admitted_is_accepted_in_the_end(weir_dir):
    """The bound counts uploads in progress, so that none of them is refused when it ends."""
    api = weir_dir.start_api("-q", "3")
    open_ones = [open_upload(api, 5, 5) for _ in range(3)]
    wait_for(lambda: weir_dir.redis.call("ZCARD", "{weir}:admitted") == 3, 10, "three reservations")
    assert weir_dir.post([("video", "a.mp4", b"late")]).problem == "queue-full"
    answers = []

    def finish(s):
        s.sendall(b"\r\n" + END)
        answers.append(s.recv(65536).split(b"\r\n")[0])
        s.close()

    threads = [threading.Thread(target=finish, args=(s,)) for s in open_ones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"HTTP/1.1 201 Created"] * 3
    assert weir_dir.redis.call("ZCARD", "{weir}:open") == 3


def test_one_client_has_only_so_many_uploads(weir_dir):
    api = weir_dir.start_api(UPLOADS_PER_CLIENT=1)
    with open_upload(api, 100, 10):
        wait_for(lambda: api.metric("weir_uploads_live") == 1, 10, "the upload")
        answer = weir_dir.post([("video", "a.mp4", b"x")])
        assert (answer.status, answer.problem) == (429, "too-many-uploads")
        assert answer.header("Retry-After")
    wait_for(lambda: api.metric("weir_uploads_live") == 0, 10, "the upload to end")
    weir_dir.upload(b"x")
