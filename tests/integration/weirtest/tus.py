"""tus 1.0.0 by hand, on raw sockets: requests as no library would send them, and what comes back to the byte.

    client = Client(server.endpoint)
    url = client.create(1000)
    answer = client.patch(url, 0, b"…")         # every answer is held to rule 1: Tus-Resumable
    with client.open_patch(url, 0, length=1000) as line:   # a body that goes on, stops, or breaks
        line.send(b"…")
        line.cut()
"""

import base64
import hashlib
import re
import socket
import struct
import time
import urllib.parse

VERSION = "1.0.0"
OFFSET_STREAM = "application/offset+octet-stream"


class LineClosed(ConnectionError):
    """The server closed the connection without a (whole) answer."""


class Answer:
    """Header fields in the order they came; names in any case."""

    def __init__(self, status, fields, interim):
        self.status, self.fields, self.interim, self.body = status, fields, interim, b""

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def header(self, name):
        """The value of a field that may come once only; None when it did not come."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {self}"
        return values[0] if values else None

    def list(self, name):
        """The lower-case members of a comma-separated field."""
        members = ",".join(self.all(name)).split(",")
        return [member.strip().lower() for member in members if member.strip()]

    @property
    def offset(self):
        value = self.header("Upload-Offset")
        assert value is not None and re.fullmatch(r"\d+", value), f"Upload-Offset {value!r}: {self}"
        return int(value)

    def __repr__(self):
        lines = "".join(f"\n  {name}: {value}" for name, value in self.fields)
        return f"<{self.status}{lines}\n  {self.body[:400]!r}>"


class Line:
    """One connection. Sends what it is told, however wrong, and takes answers apart strictly."""

    def __init__(self, url, timeout=30.0):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.socket = socket.create_connection((self.host, self.port), timeout)
        self._received = b""
        self._methods = []  # of requests that were not answered yet

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_head(self, method, target, fields=()):
        fields = [("Host", f"{self.host}:{self.port}"), *fields]
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self._methods.append(method)
        self.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))

    def send_chunk(self, data):
        if data:
            self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end_chunks(self, trailers=()):
        lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
        self.send(f"0\r\n{lines}\r\n".encode("latin-1"))

    def answer(self, method=None):
        """The next final answer; those of the kind 1xx are in its `interim`."""
        method = method or (self._methods.pop(0) if self._methods else "GET")
        interim = []
        while True:
            answer = self._head(interim)
            if answer.status >= 200:
                break
            interim.append(answer.status)
        answer.body = self._body(method, answer)
        return answer

    def interim(self):
        """The next answer, which must be one of the kind 1xx."""
        answer = self._head([])
        assert 100 <= answer.status < 200, f"not an interim answer: {answer}"
        return answer

    def _head(self, interim):
        text = self._until(b"\r\n\r\n").decode("latin-1")
        start, *lines = text.split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3})( .*)?", start)
        assert match, f"not a status line: {start!r}"
        fields = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"not a header line: {line!r}"
            fields.append((name, value.strip(" \t")))
        return Answer(int(match.group(1)), fields, interim)

    def _body(self, method, answer):
        length, chunked = answer.header("Content-Length"), answer.header("Transfer-Encoding")
        assert not (length and chunked), f"both a length and chunks: {answer}"
        if answer.status == 204:
            assert length is None and chunked is None, f"204 has no body to be measured (RFC 9110, 8.6): {answer}"
            return b""
        if method == "HEAD" or answer.status == 304:
            return b""
        if chunked:
            return b"".join(iter(self._chunk, b""))
        if length is not None:
            return self._take(int(length))
        return self.rest()

    def _chunk(self):
        size = int(self._until(b"\r\n"), 16)
        data = self._take(size)
        assert self._until(b"\r\n") == b""
        return data

    def _until(self, end):
        while end not in self._received:
            self._more()
        head, _, self._received = self._received.partition(end)
        return head

    def _take(self, size):
        while len(self._received) < size:
            self._more()
        data, self._received = self._received[:size], self._received[size:]
        return data

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise LineClosed(f"closed after {self._received[:200]!r}")
        self._received += data

    def rest(self):
        """Everything up to the end of the connection."""
        try:
            while True:
                self._more()
        except ConnectionError:
            data, self._received = self._received, b""
            return data

    def wait_until_closed(self, timeout=15.0):
        """Whatever still came before the server ended the connection; fails when it does not."""
        self.socket.settimeout(timeout)
        try:
            return self.rest()
        except TimeoutError:
            raise AssertionError(f"not closed within {timeout} s; received {self._received[:400]!r}") from None

    def is_silent(self, seconds=0.2):
        """True when nothing comes for a moment."""
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
            return False
        except (TimeoutError, BlockingIOError):
            return True
        finally:
            self.socket.settimeout(before)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def cut(self):
        """As a network does that is gone for good: the other side gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


def path_of(url):
    parts = urllib.parse.urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def overlaid(defaults, headers):
    """The defaults, but for those that `headers` sets itself."""
    headers = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    named = {name.lower() for name, _ in headers}
    return [pair for pair in defaults if pair[0].lower() not in named] + headers


def merged(defaults, headers):
    """The same as it is sent: a value of None leaves a field out."""
    return [(name, value) for name, value in overlaid(defaults, headers) if value is not None]


class Client:
    """Speaks to one server; upload URLs of another replica are asked here all the same (only their path counts)."""

    def __init__(self, endpoint, headers=None, timeout=30.0):
        self.endpoint, self.headers, self.timeout = endpoint, headers or {}, timeout

    def line(self):
        return Line(self.endpoint, self.timeout)

    def at(self, endpoint):
        """The same client at another replica."""
        return Client(endpoint, self.headers, self.timeout)

    # --- any request ---

    def request(self, method, url=None, headers=None, body=None, chunked=None, trailers=(), checked=True):
        """`body`: bytes with Content-Length; `chunked`: an iterable of bytes instead."""
        with self.line() as line:
            return self.request_on(line, method, url, headers, body, chunked, trailers, checked)

    def request_on(self, line, method, url=None, headers=None, body=None, chunked=None, trailers=(), checked=True):
        self.send_on(line, method, url, headers, body, chunked, trailers)
        answer = line.answer()
        if checked:
            check(method, answer)
        return answer

    def send_on(self, line, method, url=None, headers=None, body=None, chunked=None, trailers=()):
        defaults = [("Tus-Resumable", VERSION), *self.headers.items()]
        if body is not None:
            defaults.append(("Content-Length", len(body)))
        if chunked is not None:
            defaults.append(("Transfer-Encoding", "chunked"))
        if trailers:
            defaults.append(("Trailer", ", ".join(name for name, _ in trailers)))
        line.send_head(method, path_of(url or self.endpoint), merged(defaults, headers))
        try:
            if body:
                line.send(body)
            if chunked is not None:
                for data in chunked:
                    line.send_chunk(data)
                line.end_chunks(trailers)
        except ConnectionError:
            pass  # refused early: the answer is there

    # --- what tus has ---

    def options(self, url=None, headers=None):
        return self.request("OPTIONS", url, {"Tus-Resumable": None} | (headers or {}))

    def post(self, length=None, headers=None, body=None, chunked=None, trailers=()):
        defaults = [("Upload-Length", length)] if length is not None else []
        if body is not None or chunked is not None:
            defaults.append(("Content-Type", OFFSET_STREAM))
        else:
            defaults.append(("Content-Length", 0))
        return self.request("POST", None, overlaid(defaults, headers), body, chunked, trailers)

    def create(self, length=None, headers=None, **kwargs):
        """The URL of a new upload."""
        answer = self.post(length, headers, **kwargs)
        assert answer.status == 201, answer
        return self.location(answer)

    def location(self, answer):
        assert answer.header("Location"), answer
        return urllib.parse.urljoin(self.endpoint, answer.header("Location"))

    def head(self, url, headers=None):
        return self.request("HEAD", url, headers)

    def offset(self, url):
        answer = self.head(url)
        assert answer.status == 200, answer
        return answer.offset

    def patch(self, url, offset, body=None, headers=None, chunked=None, trailers=()):
        defaults = [("Upload-Offset", offset), ("Content-Type", OFFSET_STREAM)]
        if body is None and chunked is None:
            body = b""
        return self.request("PATCH", url, overlaid(defaults, headers), body, chunked, trailers)

    def delete(self, url, headers=None):
        return self.request("DELETE", url, headers)

    def get(self, url, headers=None):
        return self.request("GET", url, headers)

    def upload(self, data, headers=None):
        """A whole upload in two requests; its URL."""
        url = self.create(len(data), headers)
        answer = self.patch(url, 0, data)
        assert (answer.status, answer.header("Upload-Offset")) == (204, str(len(data))), answer
        return url

    def open_patch(self, url, offset, length=None, headers=None):
        """A PATCH whose body is the caller's to send: `length` bytes, or chunks without one."""
        framing = ("Content-Length", length) if length is not None else ("Transfer-Encoding", "chunked")
        defaults = [("Tus-Resumable", VERSION), *self.headers.items(), ("Upload-Offset", offset),
                    ("Content-Type", OFFSET_STREAM), framing]
        line = self.line()
        line.send_head("PATCH", path_of(url), merged(defaults, headers))
        return line

    # --- what a client does about trouble ---

    def resume(self, url, data, timeout=60.0, acknowledged=0, piece=None, least=None):
        """Uploads the rest of `data`, or at least so much of it, as tus-js-client would: HEAD, PATCH, and both again after
        what it calls retriable. No offset may ever be below one that was acknowledged. Returns the last answer."""
        least = len(data) if least is None else least
        deadline = time.monotonic() + timeout
        last = None
        while time.monotonic() < deadline:
            try:
                last = self.head(url)
                assert last.status in (200, 423), f"a client would begin anew: {last}"
                if last.status == 200:
                    assert last.offset >= acknowledged, f"{acknowledged} was acknowledged: {last}"
                    acknowledged = last.offset
                    if acknowledged >= least:
                        return last
                    last = self.patch(url, acknowledged, data[acknowledged:][:piece])
                    if last.status == 204:
                        acknowledged = last.offset
                        continue
                    assert is_retriable(last), last
            except OSError as error:
                last = error
            time.sleep(0.05)
        raise AssertionError(f"{url} was not finished within {timeout} s; last: {last!r}")


def is_retriable(answer):
    """What tus-js-client tries again."""
    return answer.status in (409, 423) or answer.status >= 500


def check(method, answer):
    """Rule 1."""
    if method != "OPTIONS":
        assert answer.header("Tus-Resumable") == VERSION, f"rule 1: {answer}"


def checksum(algorithm, data):
    """The value of Upload-Checksum."""
    digest = crc32c(data) if algorithm == "crc32c" else hashlib.new(algorithm, data).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def _crc32c_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


_CRC32C = list(_crc32c_table())


def crc32c(data):
    """Castagnoli's, as four bytes, most significant first."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC32C[(value ^ byte) & 0xFF]
    return struct.pack(">I", value ^ 0xFFFFFFFF)


def metadata(**values):
    """The value of Upload-Metadata."""
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())
