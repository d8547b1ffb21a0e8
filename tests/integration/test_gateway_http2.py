"""HTTP/2 through the gateway, with TLS and without: many uploads as streams of one connection."""

import hashlib
import json
import os
import subprocess

import pytest

from store_proxy import StoreProxy
from test_gateway import UPLOAD, gateway  # noqa: F401: a fixture
from weirtest import Weir, multipart, wait_for
from weirtest.http2 import Http2

MIB = 1 << 20
VIDEOS = "/api/v1/videos"


@pytest.fixture(params=["h2c", "tls"])
def connect(request, gateway, tmp_path):  # noqa: F811
    """connect(api, …) is a connection to a gateway before them."""
    opened = []

    def open_connection(*apis):
        if request.param == "h2c":
            opened.append(Http2(gateway(*apis)))
        else:
            certificate = make_certificate(tmp_path)
            url = gateway(*apis, certificate=certificate)
            opened.append(Http2(url, ca=certificate))
        return opened[-1]

    yield open_connection
    for connection in opened:
        connection.__exit__()


def make_certificate(folder):
    key, certificate, both = (folder / name for name in ("key.pem", "certificate.pem", "both.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both


def begin_upload(h2, data, **fields):
    body, content_type = multipart([*fields.items(), ("video", "x.mp4", data)])
    stream = h2.begin("POST", "/api/v1/upload", {"content-type": content_type, "content-length": str(len(body))})
    h2.send(stream, body, end=True)
    return stream


def test_many_uploads_over_one_connection(weir_dir, connect):
    h2 = connect(weir_dir.start_api(), weir_dir.start_api())
    contents = [os.urandom(MIB + n) for n in range(12)]
    streams = [begin_upload(h2, data, title=str(n)) for n, data in enumerate(contents)]
    h2.run(lambda: all(s.ended for s in streams))
    assert [s.status for s in streams] == [201] * len(streams)
    for stream, data in zip(streams, contents):
        stored = weir_dir.source(json.loads(stream.body)["id"])
        assert hashlib.sha256(stored).digest() == hashlib.sha256(data).digest()


def test_resumable_uploads_as_streams(weir_dir, connect):
    h2 = connect(weir_dir.start_api(), weir_dir.start_api())
    tus = {"tus-resumable": "1.0.0"}
    contents = [os.urandom(300_000 + n) for n in range(8)]
    created = [h2.begin("POST", "/api/v1/uploads", tus | {"upload-length": str(len(c))}, end=True) for c in contents]
    h2.run(lambda: all(s.ended for s in created))
    assert [s.status for s in created] == [201] * len(created)
    for offset in (0, 200_000):
        patches = [h2.begin("PATCH", s.headers["location"], tus | {
            "upload-offset": str(offset), "content-type": "application/offset+octet-stream"}) for s in created]
        for stream, data in zip(patches, contents):
            h2.send(stream, data[offset:offset + 200_000], end=True)
        h2.run(lambda: all(s.ended for s in patches))
        assert [s.status for s in patches] == [204] * len(patches)
    for stream, data in zip(created, contents):
        video_id = stream.headers["location"].rpartition("/")[2].partition("~")[0]
        assert weir_dir.source(video_id) == data


def test_a_slow_store_holds_back_its_uploads(tmp_path, minio, redis, connect):
    """Flow control reaches through to the client: it keeps what the store does not take."""
    weir = Weir(tmp_path, StoreProxy(minio, "http2-flow"), redis)
    try:
        h2 = connect(weir.start_api(UPLOAD_MEMORY="32MiB"))
        weir.store.gate.clear()
        stream = begin_upload(h2, bytes(100 * MIB))
        h2.run_for_silence(stream)
        held = stream.sent
        assert held < 40 * MIB
        other = h2.begin("GET", VIDEOS, end=True)
        weir.store.gate.set()
        h2.run(lambda: stream.ended and other.ended, 60)
        assert (stream.status, other.status) == (201, 200)
    finally:
        weir.stop()
        weir.store.close()


def test_a_full_queue_refuses_a_stream_before_its_body(weir_dir, connect):
    h2 = connect(weir_dir.start_api(QUEUE_MAX=0))
    stream = h2.begin("POST", "/api/v1/upload", {"content-type": "multipart/form-data; boundary=b",
                                                 "content-length": str(1 << 30)})
    h2.run(lambda: stream.status is not None, 5)
    assert stream.status == 503 and stream.headers["retry-after"]
    other = h2.begin("GET", VIDEOS, end=True)
    h2.run(lambda: other.ended, 5)
    assert other.status == 200


def test_a_cancelled_stream_is_taken_back_and_hurts_no_other(weir_dir, connect):
    h2 = connect(weir_dir.start_api())
    cancelled, other = (begin_upload(h2, bytes(MIB)) for _ in range(2))
    rest = bytes(other.waiting[1000:])
    for stream, begun in (cancelled, 200_000), (other, 1000):
        stream.waiting, stream.ends = stream.waiting[:begun], False
    h2.run(lambda: cancelled.sent == 200_000)
    h2.cancel(cancelled)
    h2.send(other, rest, end=True)
    h2.run(lambda: other.ended)
    assert other.status == 201
    wait_for(lambda: [v["state"] for v in weir_dir.videos()] == ["waiting"], 10, "the cancelled upload to go")


def test_without_an_api_a_head_of_an_upload_is_locked(weir_dir, connect):
    api = weir_dir.start_api()
    h2 = connect(api)
    api.kill()
    stream = h2.begin("HEAD", UPLOAD, end=True)
    h2.run(lambda: stream.ended)
    assert stream.status == 423
