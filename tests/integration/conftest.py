"""Fixtures that every integration test shares; weirtest has the classes."""

import os
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from weirtest import DirStore, MinioServer, MinioStore, RedisServer, Weir  # noqa: E402
from weirtest.tus import Client  # noqa: E402
from weirtest.tus_servers import TusdServer, WeirServer  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Keeps the outcome for the fixtures, and puts the services' logs under a failure."""
    report = (yield).get_result()
    weir = next((item.funcargs[name] for name in ("weir", "weir_dir", "weir_minio", "tus_server") if name in item.funcargs), None)
    if report.when == "call" and report.failed and weir:
        report.sections.append(("logs of the services", weir.logs()))


@pytest.fixture(scope="session")
def minio(tmp_path_factory):
    server = MinioServer(tmp_path_factory.mktemp("minio"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path / "redis")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def dir_store(tmp_path):
    return DirStore(tmp_path / "store")


@pytest.fixture(params=["dir", "minio"])
def store(request, tmp_path):
    """Both back ends, one after the other."""
    if request.param == "dir":
        return DirStore(tmp_path / "store")
    suffix = re.sub(r"[^a-z0-9]+", "-", tmp_path.name.lower()).strip("-")[-50:].strip("-")
    return MinioStore(request.getfixturevalue("minio"), suffix)


@pytest.fixture
def own_minio(tmp_path):
    """A server that this test may stop."""
    server = MinioServer(tmp_path / "minio")
    try:
        yield server.start()
    finally:
        server.stop()


def run_weir(folder, store, redis):
    weir = Weir(folder, store, redis)
    try:
        yield weir
    finally:
        weir.stop()


@pytest.fixture
def weir(tmp_path, store, redis):
    """No service runs yet: the test starts what it needs."""
    yield from run_weir(tmp_path, store, redis)


@pytest.fixture
def weir_dir(tmp_path, dir_store, redis):
    """The same on the directory store only, for what does not depend on the back end."""
    yield from run_weir(tmp_path, dir_store, redis)


@pytest.fixture
def weir_minio(tmp_path, own_minio, redis):
    """The same on a MinIO of its own, `weir_minio.store.server`."""
    yield from run_weir(tmp_path, MinioStore(own_minio, "own"), redis)


@pytest.fixture(scope="session", params=["dir", "minio"])
def tus_server(request, tmp_path_factory):
    """One server for all tests of the protocol, on both back ends; with TUS_SERVER=tusd in the environment it is tusd."""
    folder = tmp_path_factory.mktemp("tus")
    store = DirStore(folder / "store") if request.param == "dir" else MinioStore(request.getfixturevalue("minio"), "tus")
    server = (TusdServer if os.environ.get("TUS_SERVER") == "tusd" else WeirServer)(folder, store)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def tus(tus_server):
    return Client(tus_server.endpoint)
