"""POST /api/v1/upload: what goes well."""

import os

import pytest

from weirtest import multipart

MIB = 1024 * 1024


@pytest.mark.parametrize("size", [1, 300_000, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 30_000_000])
def test_bytes_arrive_whole(weir, size):
    weir.start_api()
    data = os.urandom(size)

    answer = weir.post([("title", "A title"), ("description", "two\nlines"), ("video", "clip é.mp4", data)])

    assert answer.status == 201, answer
    video = answer.json()
    assert answer.header("Location") == f"/api/v1/videos/{video['id']}"
    assert (video["state"], video["size"], video["title"]) == ("waiting", size, "A title")
    assert (video["description"], video["filename"]) == ("two\nlines", "clip é.mp4")
    assert weir.source(video["id"]) == data
    assert weir.video(video["id"])["state"] == "waiting"
    assert weir.redis.call("LLEN", "{weir}:wait:default:1") == 1
    assert weir.redis.call("ZCARD", "{weir}:admitted") == 0
    assert weir.redis.call("ZCARD", "{weir}:finishing") == 0
    assert weir.store.multipart_uploads() == []


def test_a_form_may_come_in_chunks(weir):
    """A body whose length nobody knows before its end."""
    api = weir.start_api()
    data = os.urandom(9 * MIB)
    body, content_type = multipart([("title", "Chunks"), ("video", "a.mp4", data)])
    pieces = (body[at:at + 100_000] for at in range(0, len(body), 100_000))

    answer = api.request("POST", "/api/v1/upload", body=pieces, headers={"Content-Type": content_type})

    assert answer.status == 201, answer
    assert weir.source(answer.json()["id"]) == data
