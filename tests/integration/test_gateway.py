"""infra/gateway/haproxy.cfg as it stands, but for its port and the api's addresses, before real replicas."""

import os
import re
import socket
import threading
import urllib.parse

import pytest

from weirtest import Process, wait_for
from weirtest.http import multipart, request, send_raw
from weirtest.process import ROOT, free_port

UPLOAD = "/api/v1/uploads/v_01arz3ndektsv4rrffq69g5fav~secret"


@pytest.fixture
def gateway(tmp_path):
    """gateway(api, …) starts HAProxy before them and returns its address; with a certificate, that for TLS."""
    started = []

    def start(*apis, certificate=None):
        port, tls_port = free_port(), free_port()
        ports = [urllib.parse.urlsplit(api.url).port for api in apis]
        config = (ROOT / "infra/gateway/haproxy.cfg").read_text()
        config, binds = re.subn(r"bind :3000", f"bind 127.0.0.1:{port}", config)
        config, tls_binds = re.subn(r"bind :3443", f"bind 127.0.0.1:{tls_port}", config)
        config = config.replace(" resolvers docker init-addr none", "")
        servers = "\n".join(f"    server api{i} 127.0.0.1:{p}" for i, p in enumerate(ports))
        config, templates = re.subn(r"^ *server-template .*$", servers, config, flags=re.M)
        assert (binds, tls_binds, templates) == (1, 1, 1)
        path = tmp_path / "haproxy.cfg"
        path.write_text(config)
        process = Process("haproxy", ["haproxy", "-db", "-f", str(path)], tmp_path / "haproxy.log",
                          os.environ | {"TLS_CERTIFICATE": str(certificate or "")}).start()
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: process.running and answers(url), 15, "HAProxy to listen")
        return url if certificate is None else f"https://localhost:{tls_port}"

    yield start
    for process in started:
        process.kill()


def answers(url):
    try:
        return request(url, path="/gateway/healthz").status == 200
    except OSError:
        return False


def upload(url, headers=None):
    body, content_type = multipart([("video", "x.mp4", b"x" * 1000)])
    return request(url, "POST", "/api/v1/upload", body=body, headers={"Content-Type": content_type} | (headers or {}))


def post_head(url, length, *fields):
    """The head of an upload whose body is never sent."""
    host = urllib.parse.urlsplit(url).netloc
    return "\r\n".join(["POST /api/v1/upload HTTP/1.1", f"Host: {host}", "Content-Type: multipart/form-data; boundary=b",
                        f"Content-Length: {length}", *fields, "", ""]).encode()


def test_spreads_over_replicas_and_survives_the_loss_of_one(weir_dir, gateway):
    first, second = weir_dir.start_api(), weir_dir.start_api()
    url = gateway(first, second)
    for _ in range(6):
        assert upload(url).status == 201
    assert "upload accepted" in first.log and "upload accepted" in second.log
    first.kill()
    for _ in range(6):
        assert upload(url).status == 201


def test_nobody_notices_that_replicas_are_started_anew(weir_dir, gateway):
    apis = [weir_dir.start_api(API_PORT=free_port()), weir_dir.start_api(API_PORT=free_port())]
    url = gateway(*apis)
    seen, failures, ended = [0], [], threading.Event()

    def ask():
        while not ended.is_set():
            answer = request(url, "GET", "/api/v1/videos")
            seen[0] += 1
            if answer.status != 200:
                failures.append(answer)

    def wait_for_more():
        wanted = seen[0] + 100
        wait_for(lambda: seen[0] >= wanted, 20, "answers")

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    try:
        for api in apis * 2:
            wait_for_more()
            assert api.stop() == 0
            wait_for_more()
            api.start_again()
    finally:
        ended.set()
        for client in clients:
            client.join()
    assert not failures


def test_the_log_keeps_the_secrets_of_uploads(weir_dir, gateway, tmp_path):
    url = gateway(weir_dir.start_api())
    for path in (UPLOAD, UPLOAD.replace("~", "%7E"), "/none?secret"):
        request(url, "GET", path, headers={"X-Request-ID": "mine-1"})
    log = wait_for(lambda: (text := (tmp_path / "haproxy.log").read_text()).count("mine-1") == 3 and text, 10, "its log")
    assert log.count('mine-1 "GET /api/v1/uploads/v_01arz3ndektsv4rrffq69g5fav~ HTTP/1.1"') == 2
    assert "secret" not in log


@pytest.mark.parametrize("fields", [[], ["Expect: 100-continue"]])
def test_full_queue_refuses_before_the_body(weir_dir, gateway, fields):
    url = gateway(weir_dir.start_api(QUEUE_MAX=0))
    answer = send_raw(url, post_head(url, 1 << 30, *fields), timeout=5)  # the gateway waits for the body
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 "), answer  # and no 100 Continue before it
    assert re.search(rb"^retry-after: \d+\r?$", head, re.M | re.I)
    assert b"urn:weir:error:queue-full" in body


def test_continue_is_the_apis_to_give(weir_dir, gateway):
    url = gateway(weir_dir.start_api())
    body, content_type = multipart([("title", "x"), ("video", "x.mp4", b"x" * 100_000)])
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 10) as s:
        boundary = content_type.partition("boundary=")[2]
        s.sendall(post_head(url, len(body), "Expect: 100-continue", "Connection: close").replace(
            b"boundary=b\r\n", f"boundary={boundary}\r\n".encode()))
        assert s.recv(4096).startswith(b"HTTP/1.1 100 ")
        s.sendall(body)
        assert s.recv(4096).startswith(b"HTTP/1.1 201 ")


def test_without_an_api(weir_dir, gateway):
    """A tus client that asks how far its upload got must not take the outage for the loss of its upload."""
    api = weir_dir.start_api()
    url = gateway(api)
    api.kill()
    answer = request(url, "HEAD", UPLOAD)
    assert (answer.status, answer.header("Retry-After")) == (423, "5")
    answer = request(url, "GET", "/api/v1/videos", headers={"X-Request-ID": "mine-1"})
    assert answer.status == 503 and answer.problem == "temporary"
    assert answer.header("X-Request-ID") == "mine-1" and answer.header("Retry-After") == "5"


def test_forwarded_addresses_of_clients_are_not_believed(weir_dir, gateway):
    api = weir_dir.start_api(TRUSTED_PROXIES="127.0.0.0/8")
    url = gateway(api)
    assert upload(url, {"X-Forwarded-For": "203.0.113.6"}).status == 201
    assert "client=127.0.0.1" in api.log and "203.0.113.6" not in api.log
