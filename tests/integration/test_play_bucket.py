"""The published bucket plays by itself: no play service, only something that hands out its objects."""

import functools
import http.server
import json
import subprocess
import threading

import pytest

from published import Published, transcode


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return transcode(tmp_path_factory.mktemp("published"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", "": "application/octet-stream"}

    def log_message(self, *_):
        pass


@pytest.fixture
def plain_files(dir_store):
    """A plain file server over the folder of the processed bucket."""
    handler = functools.partial(Quiet, directory=str(dir_store.folder / "processed"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield dir_store, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def open_bucket(minio):
    """MinIO with a bucket that anybody may read."""
    from weirtest import MinioStore
    store = MinioStore(minio, "plays-alone")
    assert minio.call("PUT", f"/{store.processed}")[0] == 200
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action":
              ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{store.processed}/*"]}]}
    status, body = minio.call("PUT", f"/{store.processed}", {"policy": ""}, json.dumps(policy).encode())
    assert status == 204, body
    return store, f"http://127.0.0.1:{minio.port}/{store.processed}"


@pytest.fixture(params=["plain_files", "open_bucket"])
def bucket(request):
    return request.getfixturevalue(request.param)


def test_the_bucket_plays_without_the_play_service(bucket, files):
    store, url = bucket
    video = Published(store, files).publish()
    master = f"{url}/{video.id}/{video.version}/master.m3u8"
    probe = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=codec_type,height", "-show_entries",
                            "format=duration", "-of", "json", master], capture_output=True, text=True, check=True)
    assert probe.stderr == ""
    seen = json.loads(probe.stdout)
    assert {stream.get("height") for stream in seen["streams"]} >= {240, 360}
    assert "audio" in {stream["codec_type"] for stream in seen["streams"]}
    assert abs(float(seen["format"]["duration"]) - 14) < 0.2
    decoded = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", master, "-map", "0", "-f", "null", "-"],
                             capture_output=True, text=True, check=False)
    assert (decoded.returncode, decoded.stderr) == (0, "")
