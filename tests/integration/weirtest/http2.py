"""An HTTP/2 client whose connection carries many requests at once, with the flow control of RFC 9113 in full view:
hyper-h2 does the protocol, this does the socket.

    with Http2(url) as h2:
        stream = h2.begin("POST", "/api/v1/upload", {"content-type": …})
        h2.send(stream, body, end=True)
        h2.run(lambda: stream.ended)
"""

import select
import socket
import ssl
import time
import urllib.parse

import h2.config
import h2.connection
import h2.errors
import h2.events

CHUNK = 16384


class Stream:
    def __init__(self, number):
        self.number = number
        self.waiting = memoryview(b"")  # not sent yet: the window is closed
        self.ends = False               # after what waits
        self.sent = 0
        self.status = None
        self.headers = {}
        self.body = b""
        self.ended = False
        self.reset = None               # the error code


class Http2:
    def __init__(self, url, ca=None):
        parts = urllib.parse.urlsplit(url)
        self.scheme, self.authority = parts.scheme, parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port), 10)
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["h2"])
            self._socket = context.wrap_socket(self._socket, server_hostname=parts.hostname)
            assert self._socket.selected_alpn_protocol() == "h2"
        self._socket.setblocking(False)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._out = self._h2.data_to_send()
        self.streams = {}
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def begin(self, method, path, headers=None, end=False):
        stream = Stream(self._h2.get_next_available_stream_id())
        self.streams[stream.number] = stream
        fields = {":method": method, ":path": path, ":scheme": self.scheme, ":authority": self.authority}
        self._h2.send_headers(stream.number, list((fields | (headers or {})).items()), end_stream=end)
        return stream

    def send(self, stream, data, end=False):
        stream.waiting, stream.ends = memoryview(bytes(stream.waiting) + data), end

    def cancel(self, stream):
        stream.waiting, stream.ends = memoryview(b""), False
        self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)

    def run(self, until, seconds=30.0):
        """Sends what the windows let through and takes what comes until the condition holds."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline and not self.closed, [vars(s) for s in self.streams.values()]
            self._step(0.1)

    def run_for_silence(self, stream, seconds=1.0):
        """Until no byte of this stream was taken for so long."""
        sent, since = stream.sent, time.monotonic()
        while time.monotonic() - since < seconds:
            self._step(0.05)
            if stream.sent != sent:
                sent, since = stream.sent, time.monotonic()

    def _step(self, seconds):
        for stream in self.streams.values():
            self._fill(stream)
        self._out += self._h2.data_to_send()
        pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        readable, writable, _ = select.select([self._socket], [self._socket] if self._out else [], [],
                                              0 if pending else seconds)
        if writable:
            self._flush()
        if readable or pending:
            self._take()

    def _fill(self, stream):
        while len(self._out) < 1 << 20 and stream.reset is None and not stream.ended and (stream.waiting or stream.ends):
            room = min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size, CHUNK)
            if room == 0 and stream.waiting:
                return
            piece, stream.waiting = stream.waiting[:room], stream.waiting[room:]
            last = stream.ends and not stream.waiting
            self._h2.send_data(stream.number, bytes(piece), end_stream=last)
            stream.sent += len(piece)
            if last:
                stream.ends = False
            self._out += self._h2.data_to_send()

    def _flush(self):
        try:
            self._out = self._out[self._socket.send(self._out):]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass

    def _take(self):
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        self.closed = not data
        for event in self._h2.receive_data(data) if data else []:
            self._handle(event)

    def _handle(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ConnectionTerminated):
            self.closed = True
        elif stream is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            stream.headers = {name: value for name, value in event.headers}
            stream.status = int(stream.headers[":status"])
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, stream.number)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = event.error_code
