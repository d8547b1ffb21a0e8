"""tus 1.0.0: the core protocol, creation and CORS. The numbers are those of the rules in docs/tus.md. Runs against tusd
too: TUS_SERVER=tusd scripts/test tests/integration/test_tus_protocol.py."""

import os
import re

import pytest

from weirtest.tus import OFFSET_STREAM, metadata

MIB = 1024 * 1024
EXTENSIONS = {"creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "checksum-trailer",
              "termination", "concatenation"}
EXPOSED = {"location", "upload-offset", "upload-length", "upload-metadata", "upload-defer-length", "upload-concat",
           "upload-expires", "tus-version", "tus-resumable", "tus-max-size", "tus-extension", "tus-checksum-algorithm"}
SENT_BY_PAGES = {"tus-resumable", "upload-length", "upload-offset", "upload-metadata", "upload-defer-length",
                 "upload-concat", "upload-checksum", "content-type", "x-request-id", "x-http-method-override",
                 "authorization"}
NOT_NUMBERS = ["", "+5", "-1", "-0", "0x10", "5.0", "1e3", "5 5", "5,5", "five", "5;", "\xb2", "0b1",
               "18446744073709551616", "99999999999999999999999999"]
ORIGIN = {"Origin": "https://page.example"}


# --- 1: the version ---

@pytest.mark.parametrize("version", [None, "", "0.2.2", "1.0.1", "1", "1.0", "2.0.0", "1.0.0, 1.0.0", "1.0.0;x"])
def test_01_another_version_is_refused_and_nothing_processed(tus, version):
    url = tus.create(10)
    header = {"Tus-Resumable": version}
    answers = [tus.post(10, header), tus.head(url, header), tus.patch(url, 0, b"x", header), tus.delete(url, header)]
    for answer in answers:
        assert answer.status == 412, answer
        assert "1.0.0" in answer.list("Tus-Version")
        assert answer.header("Location") is None and answer.header("Upload-Offset") is None
    assert tus.offset(url) == 0


def test_01_every_answer_names_the_version(tus):
    """`check` looks at each answer of every other test too; here are the kinds of refusals."""
    url = tus.create(10)
    nowhere = url[:-4] + "zzzz"
    refusals = [tus.post(), tus.post("x"), tus.head(nowhere), tus.patch(nowhere, 0, b"x"), tus.delete(nowhere),
                tus.patch(url, 7, b"x"), tus.patch(url, "x", b"x"), tus.patch(url, 0, b"x", {"Content-Type": "text/plain"})]
    assert all(400 <= answer.status < 500 for answer in refusals), refusals
    assert all(answer.header("Upload-Offset") is None for answer in (refusals[2], refusals[3]))


# --- 2: what there is ---

@pytest.mark.parametrize("version", [None, "1.0.0", "0.2.2"])
@pytest.mark.parametrize("what", ["endpoint", "upload"])
def test_02_options_says_what_there_is(tus, tus_server, what, version):
    answer = tus.options(tus.create(1) if what == "upload" else None, {"Tus-Resumable": version})
    assert answer.status == 204, answer
    assert answer.list("Tus-Version") == ["1.0.0"]
    assert answer.header("Tus-Max-Size") == str(tus_server.max_size)


def test_02_options_names_every_extension(tus):
    answer = tus.options()
    assert EXTENSIONS <= set(answer.list("Tus-Extension")), answer
    assert {"sha1", "sha256", "crc32c", "md5"} <= set(answer.list("Tus-Checksum-Algorithm")), answer


# --- 3: HEAD ---

def test_03_head_of_a_new_upload(tus):
    answer = tus.head(tus.create(1234))
    assert answer.status == 200
    assert (answer.offset, answer.header("Upload-Length"), answer.header("Cache-Control")) == (0, "1234", "no-store")
    for name in ("Upload-Defer-Length", "Upload-Metadata", "Upload-Concat"):
        assert answer.header(name) is None, answer


@pytest.mark.parametrize("text", [
    metadata(filename="clip é.mp4", title="A title"),
    "filename Y2xpcC5tcDQ=,is_private",
    "is_private,filename Y2xpcC5tcDQ=",
    "empty ,filename Y2xpcC5tcDQ=",
    "relativePath bnVsbA==,name c2FtcGxlLm1wNA==,type dmlkZW8vbXA0,filetype dmlkZW8vbXA0,filename c2FtcGxlLm1wNA==",
])
def test_03_head_gives_metadata_as_received(tus, text):
    assert tus.head(tus.create(5, {"Upload-Metadata": text})).header("Upload-Metadata") == text


def test_03_head_has_no_body_and_follows_the_offset(tus):
    url = tus.create(10)
    for end in range(1, 11):
        assert tus.patch(url, end - 1, b"x").offset == end
        answer = tus.head(url)
        assert (answer.status, answer.offset, answer.header("Upload-Length")) == (200, end, "10")
    with tus.line() as line:  # a body would spoil the next answer
        assert [tus.request_on(line, "HEAD", url).offset for _ in range(3)] == [10, 10, 10]


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("tail", ["", "x", "/x", "%00", "%2e%2e", "~", "~" + "0" * 32, pytest.param("0" * 600, id="long")])
def test_03_what_is_unknown_is_404(tus, method, tail):
    headers = {"Upload-Offset": "0", "Content-Type": OFFSET_STREAM} if method == "PATCH" else {}
    url = tus.endpoint.rstrip("/") + "/v_01arz3ndektsv4rrffq69g5fav" + tail
    answer = tus.request(method, url, headers, b"x" if method == "PATCH" else None, checked=False)
    assert answer.status in (404, 400) if "%" in tail else answer.status == 404, answer
    assert answer.header("Upload-Offset") is None


# --- 4: PATCH ---

def test_04_patch_answers_the_new_offset(tus, tus_server):
    data = os.urandom(100_000)
    url = tus.create(len(data))
    for start, end in ((0, 1), (1, 40_000), (40_000, 99_999), (99_999, 100_000)):
        answer = tus.patch(url, start, data[start:end])
        assert (answer.status, answer.offset, answer.body) == (204, end, b"")
    assert tus_server.content(url) == data


@pytest.mark.parametrize("size", [1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20_000_003])
def test_04_one_patch_of_any_size(tus, tus_server, size):
    data = os.urandom(size)
    assert tus_server.content(tus.upload(data)) == data


@pytest.mark.parametrize("content_type", [None, "", "application/octet-stream", "application/offset+octet-streams",
                                          "multipart/form-data; boundary=x", "application/partial-upload"])
def test_04_another_content_type_is_415(tus, content_type):
    url = tus.create(3)
    assert tus.patch(url, 0, b"abc", {"Content-Type": content_type}).status == 415
    assert tus.offset(url) == 0


@pytest.mark.parametrize("offset", [0, 3, 5, 10, 11, 2**62])
def test_04_a_wrong_offset_is_409_and_changes_nothing(tus, tus_server, offset):
    url = tus.create(10)
    tus.patch(url, 0, b"abcd")
    answer = tus.patch(url, offset, b"XXXXXX")
    assert answer.status == 409, answer
    assert tus.offset(url) == 4
    assert tus.patch(url, 4, b"efghij").status == 204
    assert tus_server.content(url) == b"abcdefghij"


@pytest.mark.parametrize("offset", [None, *NOT_NUMBERS])
def test_04_a_bad_offset_is_400(tus, offset):
    url = tus.create(10)
    assert tus.patch(url, offset, b"abc", {"Upload-Offset": offset}).status == 400
    assert tus.offset(url) == 0


def test_04_white_space_around_a_number_belongs_to_http(tus):
    url = tus.create(" \t10 \t")
    assert tus.patch(url, "  0 ", b"abc").offset == 3


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("sent_before", [0, 4])
def test_04_a_body_past_the_length_is_413(tus, tus_server, framing, sent_before):
    data = b"abcdefghij"
    url = tus.create(10)
    if sent_before:
        tus.patch(url, 0, data[:sent_before])
    more = data[sent_before:] + b"!"
    answer = tus.patch(url, sent_before, more) if framing == "length" else tus.patch(url, sent_before, chunked=[more])
    assert answer.status == 413, answer
    offset = tus.offset(url)
    assert sent_before <= offset <= 10
    if offset < 10:
        assert tus.patch(url, offset, data[offset:]).status == 204
    assert tus_server.content(url) == data


def test_04_an_empty_patch_changes_nothing(tus, tus_server):
    url = tus.create(3)
    assert tus.patch(url, 0, b"").offset == 0
    assert tus.patch(url, 0, chunked=[]).offset == 0
    assert tus.patch(url, 0, b"abc").offset == 3
    answer = tus.patch(url, 3, b"")
    assert (answer.status, answer.offset) == (204, 3), "the last 204 may be lost"
    assert tus.patch(url, 3, chunked=[]).status == 204
    assert tus.patch(url, 3, b"d").status == 413
    assert tus.patch(url, 2, b"c").status == 409
    assert tus_server.content(url) == b"abc"


@pytest.mark.parametrize("pieces", [[1] * 50, [100_000], [65536, 1, 65535, 3], [9 * MIB, 1]])
def test_04_chunked_bodies(tus, tus_server, pieces):
    data = os.urandom(sum(pieces))
    ends = [sum(pieces[:n + 1]) for n in range(len(pieces))]
    url = tus.create(len(data))
    answer = tus.patch(url, 0, chunked=[data[end - size:end] for size, end in zip(pieces, ends)])
    assert (answer.status, answer.offset) == (204, len(data))
    assert tus_server.content(url) == data


# --- 6: the method ---

@pytest.mark.parametrize("sent", ["POST", "GET", "PUT"])
def test_06_the_method_can_be_overridden(tus, tus_server, sent):
    url = tus.create(3)
    override = "X-HTTP-Method-Override"
    fields = {override: "PATCH", "Upload-Offset": "0", "Content-Type": OFFSET_STREAM}
    assert tus.request(sent, url, fields, b"abc").offset == 3
    assert tus.request(sent, url, {override: "HEAD"}).offset == 3
    assert tus_server.content(url) == b"abc"
    other = tus.create(3)
    assert tus.request(sent, other, {override: "DELETE"}).status == 204
    assert tus.head(other).status in (404, 410)


def test_06_an_unknown_method_is_refused(tus):
    url = tus.create(3)
    for method in ("PUT", "BREW"):
        assert tus.request(method, url, checked=False).status in (400, 404, 405, 501)
        assert tus.request("POST", url, {"X-HTTP-Method-Override": method}, checked=False).status in (400, 404, 405, 501)
    assert tus.offset(url) == 0


# --- 7: creation ---

def test_07_creation(tus):
    answer = tus.post(100)
    assert answer.status == 201
    first, second = tus.location(answer), tus.create(100)
    assert first != second
    assert first.startswith(tus.endpoint.rstrip("/") + "/"), "absolute or relative, it leads back here"


@pytest.mark.parametrize("headers", [
    {},
    {"Upload-Length": "5", "Upload-Defer-Length": "1"},
    {"Upload-Defer-Length": "0"},
    {"Upload-Defer-Length": "2"},
    {"Upload-Defer-Length": "true"},
    {"Upload-Defer-Length": ""},
    *({"Upload-Length": text} for text in NOT_NUMBERS),
])
def test_07_a_length_or_none(tus, headers):
    answer = tus.post(None, headers)
    assert answer.status == 400, answer
    assert answer.header("Location") is None


def test_07_too_long_is_413(tus, tus_server):
    assert tus.post(tus_server.max_size).status == 201
    for length in (tus_server.max_size + 1, 2**63 - 1):
        answer = tus.post(length)
        assert answer.status == 413 and answer.header("Location") is None, answer


def test_07_nothing_is_complete_at_once(tus, tus_server):
    url = tus.create(0)
    answer = tus.head(url)
    assert (answer.status, answer.offset, answer.header("Upload-Length")) == (200, 0, "0")
    assert tus.patch(url, 0, b"").status == 204
    assert tus.patch(url, 0, b"x").status == 413
    assert tus_server.content(url) == b""


def test_07_metadata_may_be_empty(tus):
    url = tus.create(3, {"Upload-Metadata": ""})
    assert tus.head(url).header("Upload-Metadata") in (None, "")


@pytest.mark.parametrize("text", [
    "filename !!!", "filename Y2xpc", "filename Y2xp=", "filename Y2xp Y2xp", "filename=Y2xp", " , ", ",", "a Y2xp,",
    "a Y2xp,,b Y2xp", "a Y2xp,a Y2xp", "a,a", "b\xe9 Y2xp", "filename Y2x\xe9",
])
def test_07_malformed_metadata_is_400(tus, text):
    answer = tus.post(3, {"Upload-Metadata": text})
    assert answer.status == 400, answer
    assert answer.header("Location") is None


def test_07_long_metadata(tus):
    text = metadata(filename="x" * 200, title="t" * 100, **{f"key{n}": "v" * 20 for n in range(10)})
    assert tus.head(tus.create(3, {"Upload-Metadata": text})).header("Upload-Metadata") == text
    answer = tus.request("POST", None, {"Upload-Length": "3", "Upload-Metadata": metadata(a="x" * 60_000)}, checked=False)
    assert answer.status in (400, 413, 431), answer


@pytest.mark.parametrize("name, values", [("Upload-Length", ("5", "6")), ("Upload-Metadata", ("a Y2xp", "b Y2xp")),
                                          ("Tus-Resumable", ("1.0.0", "0.2.2"))])
def test_07_a_field_that_came_twice_is_refused(tus, name, values):
    fields = [(name, value) for value in values]
    answer = tus.post(None if name == "Upload-Length" else 5, fields)
    assert answer.status in (400, 412), answer


# --- 8: the length later ---

def test_08_the_length_comes_with_the_last_bytes(tus, tus_server):
    url = tus.create(None, {"Upload-Defer-Length": "1"})
    answer = tus.head(url)
    assert (answer.offset, answer.header("Upload-Defer-Length"), answer.header("Upload-Length")) == (0, "1", None)
    assert tus.patch(url, 0, b"abc").offset == 3
    assert tus.head(url).header("Upload-Defer-Length") == "1"
    assert tus.patch(url, 3, b"def", {"Upload-Length": "6"}).offset == 6
    answer = tus.head(url)
    assert (answer.offset, answer.header("Upload-Length"), answer.header("Upload-Defer-Length")) == (6, "6", None)
    assert tus_server.content(url) == b"abcdef"


def test_08_a_patch_of_nothing_declares_it(tus, tus_server):
    url = tus.create(None, {"Upload-Defer-Length": "1"})
    assert tus.patch(url, 0, b"", {"Upload-Length": "6"}).offset == 0
    answer = tus.head(url)
    assert (answer.header("Upload-Length"), answer.header("Upload-Defer-Length")) == ("6", None)
    assert tus.patch(url, 0, b"abcdef").offset == 6
    assert tus_server.content(url) == b"abcdef"


def test_08_a_patch_of_nothing_declares_it_at_the_end(tus, tus_server):
    url = tus.create(None, {"Upload-Defer-Length": "1"})
    assert tus.patch(url, 0, b"abcdef").offset == 6
    assert tus.patch(url, 6, b"", {"Upload-Length": "6"}).offset == 6
    assert tus.head(url).header("Upload-Length") == "6"
    assert tus_server.content(url) == b"abcdef"


def test_08_the_same_length_again_is_accepted(tus, tus_server):
    url = tus.create(None, {"Upload-Defer-Length": "1"})
    for offset, data in ((0, b""), (0, b"ab"), (2, b""), (2, b"cdef"), (6, b"")):
        assert tus.patch(url, offset, data, {"Upload-Length": "6"}).offset == offset + len(data)
    assert tus_server.content(url) == b"abcdef"
    known = tus.create(3)
    assert tus.patch(known, 0, b"abc", {"Upload-Length": "3"}).offset == 3


@pytest.mark.parametrize("length", ["5", "7", "+6", "", "6 6", "0"])
def test_08_another_length_is_400(tus, length):
    url = tus.create(None, {"Upload-Defer-Length": "1"})
    tus.patch(url, 0, b"ab", {"Upload-Length": "6"})
    assert tus.patch(url, 2, b"cd", {"Upload-Length": length}).status == 400
    assert (tus.head(url).offset, tus.head(url).header("Upload-Length")) == (2, "6")
    known = tus.create(6)
    assert tus.patch(known, 0, b"ab", {"Upload-Length": length}).status == 400
    assert tus.offset(known) == 0


def test_08_a_length_must_fit(tus, tus_server):
    url = tus.create(None, {"Upload-Defer-Length": "1"})
    tus.patch(url, 0, b"abcd")
    assert tus.patch(url, 4, b"", {"Upload-Length": "3"}).status == 400, "less than what is there"
    assert tus.patch(url, 4, b"", {"Upload-Length": str(tus_server.max_size + 1)}).status == 413
    assert tus.patch(url, 4, b"efg", {"Upload-Length": "6"}).status == 413, "more in the same request than it says"
    answer = tus.head(url)
    assert answer.header("Upload-Length") in (None, "6") and answer.offset <= 6
    assert tus.patch(url, answer.offset, b"abcdef"[answer.offset:], {"Upload-Length": "6"}).status == 204
    assert tus_server.content(url) == b"abcdef"


# --- 14: pages of other origins ---

def expect_cors(answer):
    assert answer.header("Access-Control-Allow-Origin") in ("*", ORIGIN["Origin"]), answer
    assert EXPOSED <= set(answer.list("Access-Control-Expose-Headers")), answer


def test_14_answers_are_exposed_to_pages(tus):
    answer = tus.post(5, ORIGIN)
    expect_cors(answer)
    url = tus.location(answer)
    for answer in (tus.head(url, ORIGIN), tus.patch(url, 0, b"abc", ORIGIN), tus.patch(url, 0, b"abc", ORIGIN),
                   tus.post(None, ORIGIN), tus.head(url + "x", ORIGIN), tus.head(url, ORIGIN | {"Tus-Resumable": "0.1"}),
                   tus.delete(url, ORIGIN), tus.delete(url, ORIGIN)):
        expect_cors(answer)


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_14_preflight(tus, method):
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ",".join(sorted(SENT_BY_PAGES))}
    for url in (None, tus.create(3)):
        answer = tus.options(url, ORIGIN | asked)
        assert answer.status in (200, 204), answer
        assert answer.header("Access-Control-Allow-Origin") in ("*", ORIGIN["Origin"]), answer
        assert {"post", "head", "patch", "delete", "options", "get"} <= set(answer.list("Access-Control-Allow-Methods"))
        assert SENT_BY_PAGES <= set(answer.list("Access-Control-Allow-Headers")), answer
        assert answer.header("Access-Control-Max-Age") is None or re.fullmatch(r"\d+", answer.header("Access-Control-Max-Age"))


def test_14_the_request_id_comes_back(tus):
    assert tus.head(tus.create(3), {"X-Request-ID": "page-4711"}).header("X-Request-ID") == "page-4711"
