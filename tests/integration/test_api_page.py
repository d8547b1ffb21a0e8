"""What the api serves for people: the upload page and its files. What the page does is seen in tests/browser."""

import gzip
import re

import pytest

FILES = {"/": "text/html; charset=utf-8", "/web/upload.js": "text/javascript; charset=utf-8",
         "/web/upload.css": "text/css; charset=utf-8"}


@pytest.fixture
def api(weir_dir):
    return weir_dir.start_api(PUBLIC_PLAY_URL="https://video.example:8443/films/")


def test_types_and_conditions(api):
    for path, content_type in FILES.items():
        check_file(api, path, content_type)


def check_file(api, path, content_type):
    plain = api.get(path)
    assert (plain.status, plain.headers["content-type"]) == (200, content_type)
    assert plain.headers["cache-control"] == "no-cache"
    assert plain.headers["x-content-type-options"] == "nosniff"
    packed = api.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and packed.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body)
    assert packed.headers["etag"] != plain.headers["etag"]
    for known in (plain, packed):
        again = api.get(path, headers={"If-None-Match": known.headers["etag"],
                                       "Accept-Encoding": known.headers.get("content-encoding", "identity")})
        assert (again.status, again.body) == (304, b"")
    head = api.request("HEAD", path)
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", plain.headers["etag"])


@pytest.mark.parametrize("path", ["/", "/web/upload.html"])
def test_the_policy_lets_nothing_in_from_outside(api, path):
    page = api.get(path)
    policy = dict(rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";"))
    assert policy == {"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
                      "img-src": "'self' data: https://video.example:8443", "form-action": "'self'",
                      "base-uri": "'none'", "frame-ancestors": "'none'"}
    html = page.body.decode()
    assert not re.search(r"\b(?:https?:)?//", html), "no address outside"
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", html), "nothing that the policy forbids"


def test_nothing_else_is_there(api):
    for path in ("/web/nothing.js", "/web/", "/web/upload", "/web/watch.js"):
        assert api.get(path).status == 404, path


def test_the_page_comes_while_the_rest_starts(weir_dir):
    """It says itself that the list can't be read yet."""
    weir_dir.redis.pause()
    try:
        api = weir_dir.start_api(ready=False)
        assert api.get("/").status == 200
        assert api.get("/api/v1/videos").status == 503
    finally:
        weir_dir.redis.resume()
