"""Clients as they are published, unmodified: what they upload arrives to the byte. tests/interop drives those for Node."""

import hashlib
import json
import pathlib
import subprocess

import pytest
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

from line_proxy import CuttingProxy
from weirtest.tus import metadata

MIB = 1024 * 1024
SIZE = 11 * MIB + 1234
INTEROP = pathlib.Path(__file__).resolve().parents[1] / "interop"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Bytes that tell where they stand."""
    path = tmp_path_factory.mktemp("tus-clients") / "clip.mp4"
    blocks = (hashlib.sha256(b"%d" % n).digest() for n in range(SIZE // 32 + 1))
    path.write_bytes(b"".join(blocks)[:SIZE])
    return path


def same(tus_server, url, path):
    stored = tus_server.content(url)
    assert stored is not None, f"nothing is stored for {url}"
    assert hashlib.sha256(stored).hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


def node(script, status=0, **arguments):
    done = subprocess.run(["node", script, json.dumps(arguments)], cwd=INTEROP, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None


def tus_js(endpoint, path, status=0, **arguments):
    return node("upload.mjs", status, file=str(path), endpoint=endpoint, **{"options": {}} | arguments)


# --- tus-js-client ---

@pytest.mark.parametrize("options", [
    {},
    {"chunkSize": 256 * 1024},
    {"uploadDataDuringCreation": True},
    {"uploadDataDuringCreation": True, "chunkSize": 5 * MIB},
    {"overridePatchMethod": True, "chunkSize": 5 * MIB},
    {"parallelUploads": 3},
    {"parallelUploads": 3, "chunkSize": MIB},
    {"addRequestId": True, "headers": {"Authorization": "Bearer x"}},
    {"protocol": "ietf-draft-03"},
    {"protocol": "ietf-draft-05"},
    {"protocol": "ietf-draft-03", "chunkSize": 3 * MIB},
    {"protocol": "ietf-draft-05", "chunkSize": 3 * MIB},
    {"protocol": "ietf-draft-03", "uploadDataDuringCreation": True, "chunkSize": 5 * MIB},
    {"protocol": "ietf-draft-05", "uploadDataDuringCreation": True, "chunkSize": 5 * MIB},
], ids=lambda options: ",".join(f"{key}={value}" for key, value in options.items() if key != "headers") or "whole")
def test_tus_js_client(tus_server, sample, options):
    same(tus_server, tus_js(tus_server.endpoint, sample, options=options)["url"], sample)


def test_tus_js_client_names_the_file(tus, tus_server, sample):
    expected = metadata(filename="clip é.mp4", filetype="video/mp4")
    for options in ({}, {"parallelUploads": 2}):
        url = tus_js(tus_server.endpoint, sample, options=options)["url"]
        assert tus.head(url).header("Upload-Metadata") == expected


def test_tus_js_client_with_a_stream_of_unknown_length(tus_server, sample):
    done = tus_js(tus_server.endpoint, sample, stream=True, options={"uploadLengthDeferred": True, "chunkSize": 2 * MIB})
    same(tus_server, done["url"], sample)


def test_tus_js_client_with_small_files(tus_server, tmp_path):
    for size, options in ((0, {}), (1, {}), (3, {"parallelUploads": 3}), (1000, {"parallelUploads": 3})):
        path = tmp_path / f"{size}.mp4"
        path.write_bytes(b"x" * size)
        same(tus_server, tus_js(tus_server.endpoint, path, options=options)["url"], path)


@pytest.mark.parametrize("options", [{"chunkSize": MIB}, {}, {"parallelUploads": 3, "chunkSize": MIB}],
                         ids=["chunks", "whole", "parallel"])
def test_tus_js_client_resumes_in_a_new_process(tus_server, sample, tmp_path, options):
    arguments = {"storage": str(tmp_path / "urls"), "options": options}
    tus_js(tus_server.endpoint, sample, status=7, quitAfter=4 * MIB, **arguments)
    done = tus_js(tus_server.endpoint, sample, **arguments)
    assert done["requests"][0] == "HEAD 200", done
    assert done["requests"].count("POST 201") == (1 if "parallelUploads" in options else 0), "only a final is created"
    same(tus_server, done["url"], sample)
    again = tus_js(tus_server.endpoint, sample, **arguments)
    if "parallelUploads" not in options:
        assert again == {"url": done["url"], "requests": ["HEAD 200"]}, "what is finished is known"


@pytest.mark.parametrize("options", [{}, {"parallelUploads": 3}, {"protocol": "ietf-draft-03"}, {"protocol": "ietf-draft-05"}],
                         ids=["tus", "parallel", "ietf-draft-03", "ietf-draft-05"])
def test_tus_js_client_on_a_line_that_is_cut_every_3_mb(tus_server, sample, options):
    with CuttingProxy(tus_server.endpoint, 3_000_000) as line:
        done = tus_js(line.url, sample, options=options)
        assert line.cuts >= 3
    same(tus_server, done["url"], sample)
    assert done["requests"].count("POST 201") == (4 if "parallelUploads" in options else 1), "never from the beginning"


def test_tus_js_client_of_unknown_length_on_a_line_that_is_cut(tus_server, sample):
    with CuttingProxy(tus_server.endpoint, 3_000_000) as line:
        done = tus_js(line.url, sample, stream=True, options={"uploadLengthDeferred": True, "chunkSize": 4 * MIB})
        assert line.cuts >= 3
    same(tus_server, done["url"], sample)


# --- Uppy ---

@pytest.mark.parametrize("options", [{}, {"chunkSize": MIB}, {"parallelUploads": 3}], ids=["whole", "chunks", "parallel"])
def test_uppy(tus_server, sample, tmp_path, options):
    paths = [sample, tmp_path / "small.mp4", tmp_path / "empty.mp4"]
    paths[1].write_bytes(b"small")
    paths[2].write_bytes(b"")
    done = node("uppy.mjs", files=[str(path) for path in paths], endpoint=tus_server.endpoint, options=options)
    urls = dict(done["urls"])
    for path in paths:
        same(tus_server, urls[path.name], path)


def test_uppy_on_a_line_that_is_cut_every_3_mb(tus_server, sample):
    with CuttingProxy(tus_server.endpoint, 3_000_000) as line:
        done = node("uppy.mjs", files=[str(sample)], endpoint=line.url, options={})
        assert line.cuts >= 3
    same(tus_server, done["urls"][0][1], sample)


# --- tuspy ---

@pytest.mark.parametrize("arguments", [{}, {"chunk_size": 256 * 1024}, {"chunk_size": 5 * MIB, "upload_checksum": True},
                                       {"metadata": {"filename": "clip é.mp4"}}],
                         ids=["whole", "chunks", "checksum", "metadata"])
def test_tuspy(tus_server, sample, arguments):
    uploader = TusClient(tus_server.endpoint).uploader(str(sample), **arguments)
    uploader.upload()
    same(tus_server, uploader.url, sample)


def test_tuspy_resumes(tus_server, sample, tmp_path):
    storage = FileStorage(str(tmp_path / "urls"))
    arguments = {"chunk_size": MIB, "store_url": True, "url_storage": storage}
    first = TusClient(tus_server.endpoint).uploader(str(sample), **arguments)
    first.upload(stop_at=3 * MIB)
    second = TusClient(tus_server.endpoint).uploader(str(sample), **arguments)
    assert (second.url, second.offset) == (first.url, 3 * MIB)
    second.upload()
    storage.close()
    same(tus_server, second.url, sample)
