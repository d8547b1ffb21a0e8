"""HTTP as tests need it: plain requests, form bodies, and raw bytes for what no client would send."""

import http.client
import json
import mimetypes
import pathlib
import socket
import urllib.parse
import uuid


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        return self.headers.get(name)

    def json(self):
        return json.loads(self.body)

    @property
    def problem(self):
        """The stable name at the end of a problem's type: "queue-full"."""
        assert self.header("Content-Type") == "application/problem+json", self
        return self.json()["type"].removeprefix("urn:weir:error:")

    def __repr__(self):
        return f"<{self.status} {self.body[:400]!r}>"


def request(url, method="GET", path="", body=None, headers=None, timeout=30.0):
    """`body`: bytes, a file, or an iterable of bytes (then give Content-Length)."""
    parts = urllib.parse.urlsplit(url + path)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target or "/", body=body, headers=headers or {})
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def multipart(fields, boundary=None):
    """A form body: fields are (name, text), or (name, filename, bytes or path). Returns body, content type."""
    boundary = boundary or uuid.uuid4().hex
    out = []
    for name, *rest in fields:
        out.append(f"--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"")
        if len(rest) == 1:
            out.append(f"\r\n\r\n{rest[0]}\r\n")
            continue
        filename, data = rest
        data = data if isinstance(data, bytes) else pathlib.Path(data).read_bytes()
        kind = mimetypes.guess_type(filename)[0] or "application/octet-stream"
        out += [f"; filename=\"{filename}\"\r\nContent-Type: {kind}\r\n\r\n", data, "\r\n"]
    out.append(f"--{boundary}--\r\n")
    return (b"".join(part if isinstance(part, bytes) else part.encode() for part in out),
            f"multipart/form-data; boundary={boundary}")


def send_raw(url, data, timeout=10.0, half_close=False):
    """Sends bytes as they are and returns whatever comes back until the server closes or falls silent."""
    parts = urllib.parse.urlsplit(url)
    received = b""
    with socket.create_connection((parts.hostname, parts.port), timeout) as s:
        try:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            while chunk := s.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
    return received
