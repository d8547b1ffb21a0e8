"""The two back ends as a test sees them: what services must be told, and a look at the objects behind their back."""

import datetime
import hashlib
import hmac
import http.client
import os
import pathlib
import re
import shutil
import urllib.parse
import xml.etree.ElementTree as xml

from .process import Process, free_port
from .wait import wait_for


class DirStore:
    name = "dir"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.raw, self.processed = "raw", "processed"

    @property
    def env(self):
        return {"STORE_URL": f"file://{self.folder}"}

    def keys(self, bucket, prefix=""):
        root = self.folder / bucket
        found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(prefix))

    def get(self, bucket, key):
        path = self.folder / bucket / key
        return path.read_bytes() if path.is_file() else None

    def put(self, bucket, key, data):
        path = self.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def delete(self, bucket, key):
        (self.folder / bucket / key).unlink(missing_ok=True)

    def multipart_uploads(self):
        """Files of multipart uploads that were neither completed nor aborted. Single files beside their folders are what
        a process that was killed was writing; the store sweeps them in time."""
        return sorted(str(path) for path in (self.folder / ".tmp").glob("*/**/*") if path.is_file())


class MinioServer:
    """One for all tests; each test gets buckets of its own."""

    user, password = "weirtest", "weirtest-secret"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.process = free_port(), None

    def start(self):
        program = shutil.which("minio", path=os.pathsep.join(
            [str(pathlib.Path.home() / ".cache/weir/bin"), os.environ.get("PATH", "")]))
        assert program, "minio is missing; scripts/setup builds it"
        env = os.environ | {"MINIO_ROOT_USER": self.user, "MINIO_ROOT_PASSWORD": self.password, "MINIO_UPDATE": "off"}
        argv = [program, "server", str(self.folder / "data"), "--address", f"127.0.0.1:{self.port}",
                "--console-address", f"127.0.0.1:{free_port()}", "--quiet"]
        self.process = Process("minio", argv, self.folder / "minio.log", env=env).start()
        wait_for(self._answers, 60, "minio")
        return self

    def _answers(self):
        """Whether it answers for its buckets: it says that it is ready before it has made itself so."""
        assert self.process.running, f"minio ended:\n{self.process.log}"
        try:
            return self.call("GET", "/")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self):
        if self.process:
            self.process.resume()
            self.process.kill()

    def kill(self):
        self.process.kill()

    def pause(self):
        self.process.pause()

    def resume(self):
        self.process.resume()

    def call(self, method, path, query=None, body=b""):
        """One request signed with AWS Signature Version 4. Returns status, body."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        host = f"127.0.0.1:{self.port}"
        path = urllib.parse.quote(path)
        query = "&".join(f"{urllib.parse.quote(k, safe='')}={urllib.parse.quote(str(v), safe='')}"
                         for k, v in sorted((query or {}).items()))
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        signed = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = "\n".join([method, path, query, lines, signed, digest])
        scope = f"{day}/us-east-1/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = b"AWS4" + self.password.encode()
        for word in (day, "us-east-1", "s3", "aws4_request"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.user}/{scope}, SignedHeaders={signed}, "
                                    f"Signature={signature}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path + (f"?{query}" if query else ""), body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class MinioStore:
    name = "minio"

    def __init__(self, server, suffix):
        self.server = server
        self.raw, self.processed = f"raw-{suffix}", f"processed-{suffix}"

    @property
    def env(self):
        return {"MINIO_ENDPOINT": f"http://127.0.0.1:{self.server.port}", "MINIO_ROOT_USER": self.server.user,
                "MINIO_ROOT_PASSWORD": self.server.password, "RAW_BUCKET": self.raw,
                "PROCESSED_BUCKET": self.processed}

    def _list(self, bucket, query, tag):
        status, body = self.server.call("GET", f"/{bucket}", query)
        if status == 404:
            return None, []
        assert status == 200, body
        tree = xml.fromstring(re.sub(rb' xmlns="[^"]*"', b"", body))
        return tree, [element.findtext("Key") for element in tree.iter(tag)]

    def keys(self, bucket, prefix=""):
        keys, token = [], {}
        while True:
            tree, found = self._list(bucket, {"list-type": 2, "prefix": prefix} | token, "Contents")
            keys += found
            if tree is None or tree.findtext("IsTruncated") != "true":
                return sorted(keys)
            token = {"continuation-token": tree.findtext("NextContinuationToken")}

    def get(self, bucket, key):
        status, body = self.server.call("GET", f"/{bucket}/{key}")
        return body if status == 200 else None

    def put(self, bucket, key, data):
        status, body = self.server.call("PUT", f"/{bucket}/{key}", body=data)
        assert status == 200, body

    def delete(self, bucket, key):
        self.server.call("DELETE", f"/{bucket}/{key}")

    def multipart_uploads(self):
        """Multipart uploads that were neither completed nor aborted. MinIO lists them by exact key only."""
        return [key for video in {key.split("/")[1] for key in self.keys(self.raw, ".uploads/")}
                for key in self._list(self.raw, {"uploads": "", "prefix": f"{video}/source"}, "Upload")[1]]
