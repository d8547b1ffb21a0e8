"""tus 1.0.0: creation-with-upload, checksum, expiration, termination, concatenation; see test_tus_protocol.py."""

import base64
import email.utils
import os
import time

import pytest

from weirtest import wait_for
from weirtest.tus import checksum, metadata, path_of

MIB = 1024 * 1024
ALGORITHMS = ["sha1", "sha256", "crc32c", "md5"]


# --- 9: creation with upload ---

@pytest.mark.parametrize("sent", [1, 999, 1000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_09_creation_takes_bytes(tus, tus_server, framing, sent):
    data = os.urandom(1000)
    body = {"body": data[:sent]} if framing == "length" else {"chunked": [data[:sent]]}
    answer = tus.post(1000, **body)
    assert (answer.status, answer.offset) == (201, sent)
    url = tus.location(answer)
    assert tus.offset(url) == sent
    if sent < 1000:
        assert tus.patch(url, sent, data[sent:]).offset == 1000
    assert tus_server.content(url) == data


def test_09_creation_takes_more_than_a_part(tus, tus_server):
    data = os.urandom(9 * MIB)
    answer = tus.post(len(data), {"Upload-Metadata": metadata(filename="a.mp4")}, body=data)
    assert (answer.status, answer.offset) == (201, len(data))
    assert tus_server.content(tus.location(answer)) == data


def test_09_creation_with_an_empty_body(tus):
    for answer in (tus.post(5, body=b""), tus.post(5, chunked=[])):
        assert answer.status == 201
        assert answer.header("Upload-Offset") in (None, "0")
        assert tus.offset(tus.location(answer)) == 0


def test_09_creation_with_bytes_and_the_length_later(tus, tus_server):
    answer = tus.post(None, {"Upload-Defer-Length": "1"}, body=b"abc")
    assert (answer.status, answer.offset) == (201, 3)
    url = tus.location(answer)
    assert tus.patch(url, 3, b"def", {"Upload-Length": "6"}).offset == 6
    assert tus_server.content(url) == b"abcdef"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_09_creation_with_more_than_the_length_is_413(tus, framing):
    answer = tus.post(3, body=b"abcd") if framing == "length" else tus.post(3, chunked=[b"abcd"])
    assert answer.status == 413, answer


def test_09_creation_with_a_body_of_another_kind(tus):
    """Not taken for the file's first bytes."""
    answer = tus.post(5, {"Content-Type": "text/plain"}, body=b"hello")
    assert answer.status in (201, 415), answer
    if answer.status == 201:
        assert tus.offset(tus.location(answer)) == 0


def test_09_creation_that_waits_to_be_told_to_go_on(tus, tus_server):
    with tus.line() as line:
        tus.send_on(line, "POST", None, {"Upload-Length": "3", "Content-Type": "application/offset+octet-stream",
                                         "Content-Length": "3", "Expect": "100-continue"})
        assert line.interim().status == 100
        line.send(b"abc")
        answer = line.answer()
    assert (answer.status, answer.offset) == (201, 3)
    assert tus_server.content(tus.location(answer)) == b"abc"


# --- 10: checksums ---

@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_10_a_right_checksum(tus, tus_server, algorithm):
    data = os.urandom(3000)
    url = tus.create(3000)
    for start in (0, 1000, 2000):
        piece = data[start:start + 1000]
        answer = tus.patch(url, start, piece, {"Upload-Checksum": checksum(algorithm, piece)})
        assert (answer.status, answer.offset) == (204, start + 1000)
    assert tus_server.content(url) == data


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_10_a_wrong_checksum_is_460_and_changes_nothing(tus, tus_server, algorithm):
    url = tus.create(6)
    tus.patch(url, 0, b"ab")
    wrong = {"Upload-Checksum": checksum(algorithm, b"cdef")}
    for body in ({"body": b"cdeX"}, {"chunked": [b"cd", b"eX"]}):
        answer = tus.patch(url, 2, headers=wrong, **body)
        assert answer.status == 460, answer
        assert tus.offset(url) == 2
    assert tus.patch(url, 2, b"cdef", wrong).offset == 6
    assert tus_server.content(url) == b"abcdef"


@pytest.mark.parametrize("last", [False, True])
def test_10_a_wrong_checksum_over_several_parts(tus, tus_server, last):
    data = os.urandom(20 * MIB + (0 if last else 10))
    url = tus.create(len(data))
    tus.patch(url, 0, data[:1000])
    piece = data[1000:20 * MIB]
    right = {"Upload-Checksum": checksum("sha1", piece)}
    answer = tus.patch(url, 1000, piece[:-1] + bytes([piece[-1] ^ 1]), right)
    assert answer.status == 460, answer
    assert tus.offset(url) == 1000
    assert tus.patch(url, 1000, piece, right).offset == 20 * MIB
    if not last:
        assert tus.patch(url, 20 * MIB, data[-10:]).status == 204
    assert tus_server.content(url) == data


@pytest.mark.parametrize("value", [
    "", "sha1", "sha1 ", "sha1 !!!", "sha1 " + base64.b64encode(b"x" * 19).decode(), "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0", "sha1 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed", "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha1:Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha512 " + base64.b64encode(b"x" * 64).decode(),
    "adler32 AAAAAA==", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=, md5 XrY7u+Ae7tCTyyK7j1rNww==",
])
def test_10_a_malformed_or_unknown_checksum_is_400(tus, tus_server, value):
    url = tus.create(11)
    answer = tus.patch(url, 0, b"hello world", {"Upload-Checksum": value})
    assert answer.status == 400, answer
    assert tus.offset(url) == 0
    assert tus.patch(url, 0, b"hello world", {"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="}).offset == 11
    assert tus_server.content(url) == b"hello world"


def test_10_a_checksum_of_what_comes_with_the_creation(tus, tus_server):
    answer = tus.post(3, {"Upload-Checksum": checksum("sha256", b"abc")}, body=b"abc")
    assert (answer.status, answer.offset) == (201, 3)
    assert tus_server.content(tus.location(answer)) == b"abc"
    answer = tus.post(3, {"Upload-Checksum": checksum("sha256", b"abc")}, body=b"abX")
    assert answer.status == 460, answer
    assert tus.post(3, {"Upload-Checksum": "sha0 AAAA"}, body=b"abX").status == 400


def test_10_a_checksum_of_nothing(tus):
    url = tus.create(3)
    assert tus.patch(url, 0, b"", {"Upload-Checksum": checksum("sha1", b"")}).offset == 0
    assert tus.patch(url, 0, b"", {"Upload-Checksum": checksum("sha1", b"x")}).status == 460


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_10_a_checksum_in_the_trailer(tus, tus_server, algorithm):
    url = tus.create(6)
    wrong = [("Upload-Checksum", checksum(algorithm, b"abcdeX"))]
    assert tus.patch(url, 0, chunked=[b"abc", b"def"], trailers=wrong).status == 460
    assert tus.offset(url) == 0
    right = [("Upload-Checksum", checksum(algorithm, b"abcdef"))]
    assert tus.patch(url, 0, chunked=[b"abc", b"def"], trailers=right).offset == 6
    assert tus_server.content(url) == b"abcdef"


@pytest.mark.parametrize("value", ["sha0 AAAA", "sha1", ""])
def test_10_a_malformed_checksum_in_the_trailer_is_400(tus, value):
    url = tus.create(6)
    assert tus.patch(url, 0, chunked=[b"abcdef"], trailers=[("Upload-Checksum", value)]).status == 400
    assert tus.offset(url) == 0


def test_10_a_line_cut_before_the_checksum_is_complete(tus, tus_server):
    """What was not checked does not count."""
    url = tus.create(6)
    with tus.open_patch(url, 0, 6, {"Upload-Checksum": checksum("sha1", b"abcdef")}) as line:
        line.send(b"abX")
    with tus.open_patch(url, 0, None, {"Trailer": "Upload-Checksum"}) as line:
        line.send_chunk(b"abX")
    assert tus.offset(url) == 0
    # One of the two may have been late and take the upload over, only to find its line cut.
    assert wait_for(lambda: [s for s in [tus.patch(url, 0, b"abcdef").status] if s != 423], 10, "an answer") == [204]
    assert tus_server.content(url) == b"abcdef"


# --- 11: expiration (that it happens: test_tus_weir.py) ---

def test_11_the_end_is_announced(tus):
    answer = tus.post(6)
    url = tus.location(answer)
    for answer in (answer, tus.patch(url, 0, b"abc"), tus.patch(url, 3, b"")):
        value = answer.header("Upload-Expires")
        assert value, answer
        when = email.utils.parsedate_to_datetime(value)
        assert email.utils.format_datetime(when, usegmt=True) == value, "as RFC 9110, 5.6.7 has it"
        assert when.timestamp() > time.time()


# --- 12: termination ---

@pytest.mark.parametrize("sent", [0, 3, 9 * MIB])
def test_12_delete(tus, tus_server, sent):
    url = tus.create(10 * MIB)
    if sent:
        assert tus.patch(url, 0, os.urandom(sent)).offset == sent
    answer = tus.delete(url)
    assert (answer.status, answer.body) == (204, b"")
    for answer in (tus.head(url), tus.patch(url, sent, b"x"), tus.delete(url)):
        assert answer.status in (404, 410), answer
        assert answer.header("Upload-Offset") is None
    assert tus_server.content(url) in (None, b"")


def test_12_delete_while_bytes_come(tus):
    url = tus.create(20 * MIB)
    with tus.open_patch(url, 0, 20 * MIB) as line:
        line.send(os.urandom(9 * MIB))
        answer = tus.delete(url)
        assert answer.status == 204, answer
        assert tus.head(url).status in (404, 410)
        try:
            for _ in range(11):
                line.send(os.urandom(MIB))
            assert line.answer().status in (404, 410)
        except ConnectionError:
            pass  # cut off is as good
    assert tus.head(url).status in (404, 410)


# --- 13: concatenation ---

PARTIAL = {"Upload-Concat": "partial"}


def final(urls, **headers):
    return {"Upload-Concat": "final;" + " ".join(urls)} | headers


def partials(tus, pieces):
    return [tus.upload(piece, PARTIAL) for piece in pieces]


@pytest.mark.parametrize("sizes", [[3, 4, 5], [1], [9 * MIB, MIB, 6 * MIB], [100, 6 * MIB, 100], [0, 0, 2]])
@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_13_a_final_is_its_partials(tus, tus_server, sizes, form):
    if form == "relative" and sizes[0] > MIB:
        sizes = [6 * MIB, 5 * MIB, 1]
    pieces = [os.urandom(size) for size in sizes]
    urls = partials(tus, pieces)
    text = metadata(filename="whole.mp4")
    answer = tus.post(None, final(urls if form == "absolute" else map(path_of, urls)) | {"Upload-Metadata": text})
    assert answer.status == 201, answer
    url = tus.location(answer)
    answer = tus.head(url)
    total = str(sum(sizes))
    assert (answer.status, answer.header("Upload-Offset"), answer.header("Upload-Length")) == (200, total, total)
    assert answer.header("Upload-Metadata") == text
    assert tus_server.content(url) == b"".join(pieces)


def test_13_the_order_is_that_of_the_final(tus, tus_server):
    urls = partials(tus, [b"one", b"two", b"three"])
    url = tus.create(None, final([urls[2], urls[0], urls[1]]))
    assert tus_server.content(url) == b"threeonetwo"


def test_13_head_gives_the_kind(tus):
    """A final names its partials in their order, each by its URL or the end of it without the secret."""
    urls = partials(tus, [b"one", b"two"])
    assert tus.head(urls[0]).header("Upload-Concat") == "partial"
    kind, _, names = tus.head(tus.create(None, final(urls))).header("Upload-Concat").partition(";")
    assert kind == "final"
    assert len(names.split(" ")) == 2 and all(name in url for name, url in zip(names.split(" "), urls)), names


def test_13_patching_a_final_is_403(tus, tus_server):
    url = tus.create(None, final(partials(tus, [b"one", b"two"])))
    for offset, data in ((6, b""), (0, b"x"), (6, b"x"), (3, b"two")):
        assert tus.patch(url, offset, data).status == 403
    assert tus_server.content(url) == b"onetwo"


def test_13_a_final_over_an_unfinished_partial_is_400(tus, tus_server):
    done, open_one = tus.upload(b"one", PARTIAL), tus.create(3, PARTIAL)
    tus.patch(open_one, 0, b"tw")
    assert tus.post(None, final([done, open_one])).status == 400
    tus.patch(open_one, 2, b"o")
    assert tus_server.content(tus.create(None, final([done, open_one]))) == b"onetwo"


def test_13_a_final_over_what_is_no_partial_is_refused(tus):
    one = tus.upload(b"one", PARTIAL)
    whole = tus.upload(b"whole")
    gone = tus.upload(b"gone", PARTIAL)
    deleted = tus.create(3, PARTIAL)
    tus.delete(deleted)
    final_one = tus.create(None, final([one]))
    base = tus.endpoint.rstrip("/")
    for url in (whole, deleted, final_one, gone[:-5], gone[:-1] + ("0" if gone[-1] != "0" else "1"), base,
                base + "/", base + "/..", "/", "http://elsewhere.example/files/x", "%", "\xe9"):
        answer = tus.post(None, final([gone, url]))
        assert answer.status in (400, 404, 410), (url, answer)
        assert answer.header("Location") is None


@pytest.mark.parametrize("value", ["", "partial;", "partial x", "final", "final;", "final; ", "whole", "Partial", "final,x"])
def test_13_a_malformed_kind_is_400(tus, value):
    assert tus.post(3, {"Upload-Concat": value}).status == 400
    assert tus.post(None, {"Upload-Concat": value}).status == 400


def test_13_a_final_has_no_length_and_no_bytes(tus):
    urls = partials(tus, [b"one"])
    assert tus.post(3, final(urls)).status == 400
    assert tus.post(None, final(urls, **{"Upload-Defer-Length": "1"})).status == 400
    assert tus.post(None, final(urls), body=b"x").status in (400, 403, 413)
    assert tus.post(None, final(urls)).status == 201


def test_13_a_partial_may_learn_its_length_later(tus, tus_server):
    url = tus.create(None, PARTIAL | {"Upload-Defer-Length": "1"})
    tus.patch(url, 0, b"abc")
    assert tus.post(None, final([url])).status == 400
    tus.patch(url, 3, b"", {"Upload-Length": "3"})
    assert tus_server.content(tus.create(None, final([url]))) == b"abc"


def test_13_partials_in_parallel(tus, tus_server):
    data = [os.urandom(6 * MIB) for _ in range(3)]
    urls = [tus.create(len(piece), PARTIAL) for piece in data]
    lines = [tus.open_patch(url, 0, len(piece)) for url, piece in zip(urls, data)]
    for start in range(0, 6 * MIB, MIB):
        for line, piece in zip(lines, data):
            line.send(piece[start:start + MIB])
    for line in lines:
        assert line.answer().status == 204
        line.close()
    assert tus_server.content(tus.create(None, final(urls))) == b"".join(data)
