"""A line between a client and a server that breaks, again and again."""

import contextlib
import socket
import threading
import urllib.parse


class CuttingProxy:
    """Passes bytes between clients and the server at `url`; cuts each connection once it has carried `cut_after` bytes
    towards the server."""

    def __init__(self, url, cut_after):
        parts = urllib.parse.urlsplit(url)
        self.server, self.path, self.cut_after, self.cuts = (parts.hostname, parts.port), parts.path, cut_after, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self.path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(self.server) as server:
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
            left = self.cut_after
            with contextlib.suppress(OSError):
                while data := client.recv(min(65536, left)):
                    server.sendall(data)
                    left -= len(data)
                    if not left:
                        self.cuts += 1
                        break
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _answers(self, server, client):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
