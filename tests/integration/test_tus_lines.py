"""tus on lines that break, wait, or hold several requests: rules 5, 16 and 17 and what HTTP has to say; see
test_tus_protocol.py."""

import os
import threading
import time

import pytest

from weirtest import wait_for
from weirtest.tus import LineClosed, OFFSET_STREAM, path_of

MIB = 1024 * 1024


def cut_patch(tus, url, offset, data, framing, length, how):
    """A PATCH of `length` bytes that ends after `data`."""
    with tus.open_patch(url, offset, length if framing == "length" else None) as line:
        if framing == "length":
            line.send(data)
        else:
            line.send(b"%x\r\n" % length + data)  # in mid-chunk
        if how == "half-close":
            line.half_close()
            line.wait_until_closed()
        elif how == "garbage":
            line.send(b"\r\nzz\r\n")
            line.wait_until_closed()


def settled_offset(tus, url, least=0):
    """The offset, once the server has noticed that the line is cut."""
    return wait_for(lambda: (lambda offset: offset >= least and [offset])(tus.offset(url)), 15, f"offset {least}")[0]


# --- 5: what came counts ---

@pytest.mark.parametrize("how", ["close", "half-close"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("sent", [1, 100_001, 8 * MIB, 9 * MIB + 1])
def test_05_what_came_before_the_cut_is_kept(tus, tus_server, framing, how, sent):
    data = os.urandom(10 * MIB)
    url = tus.create(len(data))
    cut_patch(tus, url, 0, data[:sent], framing, len(data), how)
    assert settled_offset(tus, url, sent) == sent, "exactly what came"
    cut_patch(tus, url, sent, data[sent:sent + 7], framing, len(data) - sent, how)
    assert settled_offset(tus, url, sent + 7) == sent + 7
    answer = tus.patch(url, sent + 7, data[sent + 7:])
    assert (answer.status, answer.offset) == (204, len(data))
    assert tus_server.content(url) == data


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_05_a_line_that_is_reset(tus, tus_server, framing):
    """A reset may overtake bytes on their way; what is kept is a beginning all the same."""
    data = os.urandom(3 * MIB)
    url = tus.create(len(data))
    offset = 0
    for sent in (1, 70_000, 2 * MIB):
        with tus.open_patch(url, offset, len(data) - offset if framing == "length" else None) as line:
            line.send(data[offset:sent] if framing == "length" else b"%x\r\n" % (len(data) - offset) + data[offset:sent])
            line.cut()
        now = tus.offset(url)
        assert offset <= now <= sent
        offset = now
    tus.resume(url, data, acknowledged=offset)  # the server may have noticed the reset only after it was asked
    assert tus_server.content(url) == data


@pytest.mark.parametrize("framing, garbage", [("chunked", b"zz\r\n"), ("chunked", b"\r\n"), ("chunked", b"-1\r\n"),
                                              ("chunked", b"fffffffffffffffff\r\n"), ("chunked", b"3;\0\r\nabc\r\n"),
                                              ("chunked", b"3\r\nabcX\r\n")])
def test_05_chunks_that_are_none(tus, tus_server, framing, garbage):
    url = tus.create(8)
    with tus.open_patch(url, 0) as line:
        line.send_chunk(b"hello")
        line.send(garbage)
        line.half_close()
        text = line.wait_until_closed()
        assert not text or text.startswith(b"HTTP/1.1 4"), text
    offset = settled_offset(tus, url)
    assert offset in (0, 5, 8)
    if offset < 8:
        assert tus.patch(url, offset, b"helloabc"[offset:]).status == 204
    assert tus_server.content(url) == b"helloabc"


def test_05_cut_in_the_headers_changes_nothing(tus):
    url = tus.create(3)
    with tus.line() as line:
        line.send(f"PATCH {path_of(url)} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n".encode())
    assert tus.offset(url) == 0


def test_05_many_cuts(tus, tus_server):
    data = os.urandom(500_000)
    url = tus.create(len(data))
    offset = 0
    for n in range(20):
        step = 1 + n * 1237
        cut_patch(tus, url, offset, data[offset:offset + step], "length" if n % 2 else "chunked", len(data) - offset, "close")
        offset = settled_offset(tus, url, offset + step)
    assert tus.patch(url, offset, data[offset:]).offset == len(data)
    assert tus_server.content(url) == data


# --- 16: the last answer is lost ---

def test_16_the_last_answer_is_lost(tus, tus_server):
    data = os.urandom(9 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as line:
        line.send(data)
    assert settled_offset(tus, url, len(data)) == len(data)
    for _ in range(3):
        answer = tus.patch(url, len(data), b"")
        assert (answer.status, answer.offset) == (204, len(data))
        assert tus.head(url).status == 200
    assert tus_server.content(url) == data


# --- 17: one writer ---

@pytest.mark.parametrize("sent", [1000, 9 * MIB])
def test_17_a_second_patch_takes_over(tus, tus_server, sent):
    data = os.urandom(20 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as old:
        old.send(data[:sent])
        offset = wait_for(lambda: tus.offset(url), 10, "something recorded")
        assert offset <= sent
        answer = tus.patch(url, offset, data[offset:offset + 5000])
        if answer.status == 409:  # the old writer had more than it had recorded
            offset = tus.offset(url)
            answer = tus.patch(url, offset, data[offset:offset + 5000])
        assert answer.status == 204 and answer.offset == offset + 5000, answer
        try:
            old.send(b"X" * 1000)
            assert old.answer().status in (409, 423)
        except ConnectionError:
            pass  # cut off is as good
    assert tus.offset(url) == offset + 5000
    assert tus.patch(url, offset + 5000, data[offset + 5000:]).status == 204
    assert tus_server.content(url) == data


def test_17_head_does_not_disturb_a_patch(tus, tus_server):
    """It gives what is recorded, within 5 s."""
    data = os.urandom(2 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as line:
        line.send(data[:MIB])
        before = time.monotonic()
        offset = tus.offset(url)
        if not offset:
            offset = wait_for(lambda: tus.offset(url), 5, "an offset")
        assert 0 < offset <= MIB
        assert time.monotonic() - before < 10
        line.send(data[MIB:MIB + 1000])
        assert tus.offset(url) <= MIB + 1000
        assert line.is_silent()
        line.send(data[MIB + 1000:])
        assert line.answer().status == 204
    assert tus.offset(url) == len(data)
    assert tus_server.content(url) == data


def test_17_many_at_once(tus, tus_server):
    """Whatever they are told, the file is what it should be."""
    data = os.urandom(4 * MIB)
    url = tus.create(len(data))
    told = []

    def patch(n):
        try:
            told.append(tus.patch(url, 0, data[: MIB + n]).status)
        except LineClosed:
            told.append(0)

    threads = [threading.Thread(target=patch, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count(204) <= 1 and set(told) <= {0, 204, 409, 423}, told
    tus.resume(url, data)
    assert tus_server.content(url) == data


# --- what HTTP has to say ---

def test_expect_is_answered_before_the_body(tus, tus_server):
    url = tus.create(3)
    with tus.open_patch(url, 0, 3, {"Expect": "100-continue"}) as line:
        assert line.interim().status == 100
        line.send(b"abc")
        assert line.answer().offset == 3
    assert tus_server.content(url) == b"abc"


@pytest.mark.parametrize("offset, headers, status", [
    (7, {}, 409), ("x", {}, 400), (0, {"Content-Type": "text/plain"}, 415), (0, {"Tus-Resumable": "0.2.2"}, 412),
    (0, {"Content-Length": str(200 * MIB)}, 413),
])
def test_refusals_come_before_the_body(tus, offset, headers, status):
    """With Expect nothing has to be sent; without it the answer can be read while the body is still coming."""
    url = tus.create(100 * MIB)
    with tus.open_patch(url, offset, 100 * MIB, headers | {"Expect": "100-continue"}) as line:
        answer = line.answer()
        assert (answer.status, answer.interim) == (status, []), answer
    with tus.open_patch(url, offset, 100 * MIB, headers) as line:
        sent = 0
        try:
            while sent < 100 * MIB and line.is_silent(0):
                line.send(b"x" * MIB)
                sent += MIB
        except ConnectionError:
            pass
        assert line.answer().status == status
        assert sent < 100 * MIB
    assert tus.offset(url) == 0


def test_an_unknown_expectation_is_417_or_let_pass(tus):
    url = tus.create(3)
    answer = tus.request("PATCH", url, {"Upload-Offset": "0", "Content-Type": OFFSET_STREAM, "Expect": "a-miracle"}, b"abc",
                         checked=False)
    assert answer.status in (204, 417), answer


def test_several_requests_on_one_connection(tus, tus_server):
    data = os.urandom(50_000)
    with tus.line() as line:
        answer = tus.request_on(line, "POST", None, {"Upload-Length": str(len(data)), "Content-Length": "0"})
        url = tus.location(answer)
        for start in range(0, len(data), 10_000):
            fields = {"Upload-Offset": str(start), "Content-Type": OFFSET_STREAM}
            assert tus.request_on(line, "PATCH", url, fields, data[start:start + 10_000]).status == 204
            assert tus.request_on(line, "PATCH", url, fields, data[start:start + 10_000]).status == 409
            assert tus.request_on(line, "HEAD", url).offset == start + 10_000
            assert tus.request_on(line, "HEAD", url + "x").status == 404
    assert tus_server.content(url) == data


def test_pipelined_requests(tus, tus_server):
    """All sent before any answer is read; answered in order."""
    data = os.urandom(30_000)
    url = tus.create(len(data))
    with tus.line() as line:
        for start in range(0, len(data), 10_000):
            fields = {"Upload-Offset": str(start), "Content-Type": OFFSET_STREAM}
            body = {"body": data[start:start + 10_000]} if start % 20_000 else {"chunked": [data[start:start + 10_000]]}
            tus.send_on(line, "PATCH", url, fields, **body)
            tus.send_on(line, "HEAD", url)
        answers = [line.answer() for _ in range(6)]
    assert [answer.status for answer in answers] == [204, 200] * 3
    assert [answer.offset for answer in answers] == [10_000, 10_000, 20_000, 20_000, 30_000, 30_000]
    assert tus_server.content(url) == data


@pytest.mark.parametrize("fields", [
    [("Content-Length", "3"), ("Transfer-Encoding", "chunked")],
    [("Content-Length", "3"), ("Content-Length", "4")],
    [("Content-Length", "+3")], [("Content-Length", "3, 4")], [("Content-Length", "-3")], [("Content-Length", "0x3")],
    [("Transfer-Encoding", "chunked, identity")], [("Transfer-Encoding", "gzip")], [("Transfer-Encoding", "xchunked")],
    [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
])
def test_bodies_of_uncertain_length_are_refused(tus, fields):
    url = tus.create(3)
    with tus.line() as line:
        line.send_head("PATCH", path_of(url), [("Tus-Resumable", "1.0.0"), ("Upload-Offset", "0"),
                                               ("Content-Type", OFFSET_STREAM), *fields])
        try:
            line.send(b"3\r\nabc\r\n0\r\n\r\n")
            assert line.answer().status in (400, 411, 501)
        except ConnectionError:
            pass  # cut off is as good
    assert tus.offset(url) == 0


def test_a_slow_client_is_served(tus, tus_server):
    """Byte by byte, headers too."""
    url = tus.create(5)
    head = (f"PATCH {path_of(url)} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
            f"Content-Type: {OFFSET_STREAM}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").encode()
    with tus.line() as line:
        for n in range(len(head)):
            line.send(head[n:n + 1])
        assert line.answer().offset == 5
    assert tus_server.content(url) == b"hello"


@pytest.mark.parametrize("extension", [b";name=value", b';quoted="a b;c"'])
def test_chunk_extensions_and_unknown_trailers_are_let_pass(tus, tus_server, extension):
    url = tus.create(5)
    with tus.open_patch(url, 0) as line:
        line.send(b"5" + extension + b"\r\nhello\r\n0\r\nX-Trailer: yes\r\n\r\n")
        assert line.answer().offset == 5
    assert tus_server.content(url) == b"hello"
