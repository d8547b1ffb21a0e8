"""A store that misbehaves: passes bytes between Weir and MinIO, remembers what was asked, and breaks when told to."""

import re
import socket
import threading

from weirtest import MinioStore


class StoreProxy(MinioStore):
    def __init__(self, server, suffix):
        super().__init__(server, suffix)
        self.requests = []      # "GET /bucket/key", in order
        self.cut_after = None   # bytes of an answer to a request whose line matches `cut_what`
        self.cut_what = ""
        self.gate = threading.Event()  # answers pass only while it is set
        self.gate.set()
        self.refuses = False    # new connections, and ends those that are open
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def env(self):
        return super().env | {"MINIO_ENDPOINT": f"http://127.0.0.1:{self.port}"}

    def count(self, pattern):
        return sum(re.search(pattern, line) is not None for line in self.requests)

    def close(self):
        self.gate.set()
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        if self.refuses:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.server.port))
        except OSError:  # the store is away, which tests want at times
            client.close()
            return
        with client, server:
            state = {"line": ""}
            threading.Thread(target=self._answers, args=(server, client, state), daemon=True).start()
            self._questions(client, server, state)

    def _questions(self, client, server, state):
        try:
            while data := client.recv(65536):
                for line in re.findall(rb"^((?:GET|HEAD|PUT|POST|DELETE) \S+) HTTP/1.1\r$", data, re.M):
                    state["line"], state["passed"] = line.decode(), 0
                    self.requests.append(state["line"])
                server.sendall(data)
        except OSError:
            pass

    def _answers(self, server, client, state):
        try:
            while data := server.recv(65536):
                self.gate.wait()
                if self.refuses:
                    break
                if self.cut_after is not None and re.search(self.cut_what, state["line"]):
                    data = data[: max(0, self.cut_after - state["passed"])]
                    state["passed"] += len(data)
                    client.sendall(data)
                    if state["passed"] < self.cut_after:
                        continue
                    break
                client.sendall(data)
        except OSError:
            pass
        for end in (client, server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
