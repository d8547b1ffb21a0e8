"""POST /api/v1/upload: what goes well."""

import os

import pytest

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
