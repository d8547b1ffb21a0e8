"""The line between a browser and Weir: cut when told to, and it remembers what was asked. How slow it is, the browser
says: bytes that wait in the kernel would count as sent."""

import re
import socket
import threading

REQUEST = re.compile(rb"^((?:GET|HEAD|POST|PATCH|DELETE) \S+) HTTP/1\.1\r$", re.M)
OFFSET = re.compile(rb"^Upload-Offset: (\d+)\r$", re.M | re.I)


class Line:
    """A TCP port of its own before that of a server."""

    def __init__(self, url):
        self.server = int(url.rsplit(":", 1)[1])
        self.requests = []    # "PATCH /api/v1/uploads/…"
        self.offsets = []     # of the PATCHes among them
        self.stopped = False  # True: cut, and nobody gets through
        self.bad_heads = 0    # so many HEADs get 502, as from a gateway that has lost its server
        self.open = set()     # sockets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Ends every connection."""
        for line in list(self.open):
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it ended by itself

    def stop(self):
        self.stopped = True
        self.cut()

    def go_on(self):
        self.stopped = False

    def count(self, pattern):
        return sum(re.match(pattern, request) is not None for request in self.requests)

    def close(self):
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            if self.stopped:
                return
            with socket.create_connection(("127.0.0.1", self.server)) as server:
                self.open |= {client, server}
                threading.Thread(target=self._pass, args=(server, client), daemon=True).start()
                self._pass(client, server, asks=True)
                self.open -= {client, server}

    def _pass(self, source, target, asks=False):
        try:
            while data := source.recv(16384):
                if asks:
                    self._remember(data)
                    if self.bad_heads and data.startswith(b"HEAD "):
                        self.bad_heads -= 1
                        source.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                        continue
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # cut

    def _remember(self, data):
        for request in REQUEST.findall(data):
            self.requests.append(request.decode())
            if request.startswith(b"PATCH"):
                self.offsets += [int(offset) for offset in OFFSET.findall(data)]
