"""Resumable uploads as the IETF drafts -03 and -05 have them and tus-js-client 4 speaks them, on the same uploads as tus; see
test_tus_protocol.py."""

import os

import pytest

from weirtest import wait_for
from weirtest.tus import merged, metadata, path_of

MIB = 1024 * 1024
PARTIAL_UPLOAD = "application/partial-upload"


class Draft:
    """One of the drafts, by its interop version."""

    def __init__(self, tus, version):
        self.tus, self.version = tus, version
        self.kind = {"Content-Type": PARTIAL_UPLOAD} if version == "6" else {}

    def request(self, method, url=None, headers=None, **body):
        defaults = [("Tus-Resumable", None), ("Upload-Draft-Interop-Version", self.version)]
        return self.tus.request(method, url, merged(defaults, headers), checked=False, **body)

    def create(self, **headers):
        answer = self.request("POST", None, {"Content-Length": "0", "Upload-Complete": "?0"} | headers)
        assert answer.status == 201, answer
        return self.tus.location(answer)

    def patch(self, url, offset, data, complete, headers=None):
        fields = {"Upload-Offset": str(offset), "Upload-Complete": complete} | self.kind | (headers or {})
        return self.request("PATCH", url, fields, body=data)

    def offset(self, url):
        answer = self.request("HEAD", url)
        assert 200 <= answer.status < 300, answer
        assert answer.header("Cache-Control") == "no-store"
        return answer.offset


@pytest.fixture(params=["5", "6"], ids=["draft-03", "draft-05"])
def draft(request, tus):
    return Draft(tus, request.param)


def test_an_upload_in_pieces(draft, tus_server):
    data = os.urandom(9 * MIB)
    url = draft.create(**{"Upload-Length": str(len(data)), "Upload-Metadata": metadata(filename="a.mp4")})
    assert draft.offset(url) == 0
    for start, end, complete in ((0, 1000, "?0"), (1000, 5 * MIB, "?0"), (5 * MIB, 9 * MIB, "?1")):
        answer = draft.patch(url, start, data[start:end], complete)
        assert 200 <= answer.status < 300 and answer.offset == end, answer
        head = draft.request("HEAD", url)
        assert (head.offset, head.header("Upload-Complete")) == (end, complete)
    assert tus_server.content(url) == data


def test_the_length_is_that_of_the_last_piece(draft, tus_server):
    url = draft.create()
    assert draft.patch(url, 0, b"abc", "?0").offset == 3
    assert draft.patch(url, 3, b"def", "?1").offset == 6
    assert tus_server.content(url) == b"abcdef"


def test_a_whole_file_with_the_creation(draft, tus_server):
    answer = draft.request("POST", None, {"Upload-Complete": "?1", "Upload-Length": "6"} | draft.kind, body=b"abcdef")
    assert 200 <= answer.status < 300 and answer.offset == 6, answer
    assert tus_server.content(draft.tus.location(answer)) == b"abcdef"


def test_a_beginning_with_the_creation(draft, tus_server):
    answer = draft.request("POST", None, {"Upload-Complete": "?0", "Upload-Length": "6"} | draft.kind, body=b"abc")
    assert answer.status == 201 and answer.offset == 3, answer
    url = draft.tus.location(answer)
    assert draft.patch(url, 3, b"def", "?1").offset == 6
    assert tus_server.content(url) == b"abcdef"


def test_a_wrong_offset_changes_nothing(draft, tus_server):
    url = draft.create(**{"Upload-Length": "6"})
    draft.patch(url, 0, b"abc", "?0")
    for offset in (0, 2, 4, 6):
        assert draft.patch(url, offset, b"XXX", "?0").status == 409
    for offset in ("", "-1", "+3", "x"):
        assert draft.patch(url, offset, b"XXX", "?0").status == 400
    assert draft.offset(url) == 3
    assert draft.patch(url, 3, b"def", "?1").offset == 6
    assert tus_server.content(url) == b"abcdef"


@pytest.mark.parametrize("value", ["", "1", "true", "?2", "? 1", "?1?0"])
def test_a_malformed_end_is_400(draft, value):
    url = draft.create(**{"Upload-Length": "6"})
    assert draft.patch(url, 0, b"abc", value).status == 400
    assert draft.offset(url) == 0


def test_what_came_before_a_cut_is_kept(draft, tus_server):
    data = os.urandom(MIB)
    url = draft.create(**{"Upload-Length": str(MIB)})
    with draft.tus.open_patch(url, 0, MIB, {"Tus-Resumable": None, "Upload-Draft-Interop-Version": draft.version,
                                            "Content-Type": draft.kind.get("Content-Type"),
                                            "Upload-Complete": "?1"}) as line:
        line.send(data[:100_000])
    wait_for(lambda: draft.offset(url) == 100_000, 15, "what was sent")
    assert draft.request("HEAD", url).header("Upload-Complete") == "?0", "the end was announced and did not come"
    assert draft.patch(url, 100_000, data[100_000:], "?1").offset == MIB
    assert tus_server.content(url) == data


@pytest.mark.parametrize("version", ["3", "4", "5", "6"])
def test_a_creation_that_breaks_off_can_be_resumed(tus, tus_server, version):
    """104 says where, before the body is there: all that Apple's clients (version 3) know of an upload."""
    draft = Draft(tus, version)
    whole, flag = ("?0", "Upload-Incomplete") if version == "3" else ("?1", "Upload-Complete")
    data = os.urandom(MIB)
    with tus.line() as line:
        line.send_head("POST", path_of(tus.endpoint), [("Upload-Draft-Interop-Version", version), (flag, whole),
                                                       ("Content-Length", MIB)])
        answer = line.interim()
        assert (answer.status, answer.header("Upload-Draft-Interop-Version")) == (104, version)
        url = tus.location(answer)
        line.send(data[:100_000])
    wait_for(lambda: draft.offset(url) == 100_000, 15, "what was sent")
    answer = draft.request("PATCH", url, {"Upload-Offset": "100000", flag: whole} | draft.kind, body=data[100_000:])
    assert (answer.status, answer.offset, answer.header(flag)) == (204, MIB, whole), answer
    assert tus_server.content(url) == data


def test_the_end_before_the_length_is_refused(draft):
    url = draft.create(**{"Upload-Length": "6"})
    answer = draft.patch(url, 0, b"abc", "?1")
    assert answer.status in (400, 409, 413), answer
    assert draft.request("HEAD", url).header("Upload-Complete") == "?0"


def test_more_than_the_length_is_refused(draft):
    url = draft.create(**{"Upload-Length": "3"})
    assert draft.patch(url, 0, b"abcd", "?1").status in (400, 413)


def test_delete(draft):
    url = draft.create(**{"Upload-Length": "6"})
    assert draft.request("DELETE", url).status == 204
    assert draft.request("HEAD", url).status in (404, 410)
    assert draft.patch(url, 0, b"abc", "?0").status in (404, 410)


def test_tus_and_the_drafts_share_an_upload(draft, tus, tus_server):
    url = draft.create(**{"Upload-Length": "9"})
    assert tus.patch(url, 0, b"abc").offset == 3
    assert draft.patch(url, 3, b"def", "?0").offset == 6
    assert tus.offset(url) == 6
    assert tus.patch(url, 6, b"ghi").offset == 9
    assert draft.request("HEAD", url).header("Upload-Complete") == "?1"
    assert tus_server.content(url) == b"abcdefghi"


@pytest.mark.parametrize("version", ["", "x", "99"])
def test_an_unknown_version_is_not_processed(tus, version):
    answer = tus.request("POST", None, {"Tus-Resumable": None, "Upload-Draft-Interop-Version": version,
                                        "Upload-Complete": "?0", "Upload-Length": "3", "Content-Length": "0"}, checked=False)
    assert answer.status in (400, 412) and answer.header("Location") is None, answer
