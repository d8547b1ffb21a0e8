"""List, get, delete, cancel and retry, each as architecture.md orders its steps."""

import json

import pytest

from weirtest import wait_for

OUTCOME = {"outcome": "published", "created_at": "2026-01-02T03:04:05.678Z", "duration": 1.5, "width": 320,
           "height": 240, "renditions": [{"name": "240p"}], "poster": "poster.jpg"}
VERSION = "1-7-0123456789abcdef"


def publish(weir, video_id, generation=1):
    """What a worker leaves behind."""
    version = VERSION.replace("1", str(generation), 1)
    weir.store.put(weir.store.processed, f"{video_id}/{version}/master.m3u8", b"#EXTM3U\n")
    outcome = OUTCOME | {"video": video_id, "generation": generation, "version": version}
    weir.store.put(weir.store.processed, f".outcomes/{video_id}/{generation}.json", json.dumps(outcome).encode())


def fail(weir, video_id, generation=1):
    outcome = {"outcome": "failed", "video": video_id, "generation": generation, "error": "no video stream",
               "created_at": "2026-01-02T03:04:05.678Z"}
    weir.store.put(weir.store.processed, f".outcomes/{video_id}/{generation}.json", json.dumps(outcome).encode())


def reconcile(weir):
    status, log = weir.run_api("--reconcile-once")
    assert status == 0, log


def test_list_is_paged_newest_first(weir_dir):
    api = weir_dir.start_api()
    ids = [weir_dir.upload(b"x", title=str(n))["id"] for n in range(7)]
    seen, cursor = [], ""
    while True:
        page = api.get(f"/api/v1/videos?limit=3{cursor}").json()
        assert len(page["videos"]) <= 3 and "rebuilding" not in page
        seen += [video["id"] for video in page["videos"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ids[::-1]
    assert api.request("POST", f"/api/v1/videos/{ids[2]}/cancel").status == 200
    assert [video["id"] for video in weir_dir.videos("?state=cancelled")] == [ids[2]]
    assert len(weir_dir.videos("?state=waiting&limit=200")) == 6


def test_get_and_head(weir_dir):
    api = weir_dir.start_api()
    video = weir_dir.upload(b"x", title="T")
    path = f"/api/v1/videos/{video['id']}"
    assert api.get(path).json()["title"] == "T"
    assert video["links"] == {"self": path}
    head = api.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")


def test_delete_leaves_only_what_keeps_others_out(weir):
    api = weir.start_api()
    video_id = weir.upload(b"x" * 9_000_000, title="secret")["id"]
    publish(weir, video_id)

    answer = api.request("DELETE", f"/api/v1/videos/{video_id}")

    assert (answer.status, answer.body) == (204, b"")
    assert weir.video(video_id) is None and weir.videos() == []
    assert api.request("DELETE", f"/api/v1/videos/{video_id}").status == 404
    assert weir.processed_keys() == [f".outcomes/{video_id}/1.json"]
    left = weir.raw_keys()
    assert f".videos/{video_id}.deleted" in left
    assert all(key.startswith(".uploads/") for key in left if key != f".videos/{video_id}.deleted")
    assert not any(b"secret" in weir.store.get(weir.store.raw, key) for key in left)
    assert weir.redis.call("ZCARD", "{weir}:open") == 0


def test_a_deleted_video_does_not_come_back(weir):
    api = weir.start_api()
    video_id = weir.upload(b"x")["id"]
    assert api.request("DELETE", f"/api/v1/videos/{video_id}").status == 204
    weir.redis.lose_everything()
    wait_for(lambda: weir.redis.call("EXISTS", "{weir}:epoch"), 20, "the rebuild")
    assert weir.video(video_id) is None
    assert weir.redis.call("EXISTS", f"{{weir}}:deleted:{video_id}") == 1
    weir.store.put(weir.store.raw, f"{video_id}/source", b"late")  # by a process that was frozen
    reconcile(weir)
    assert weir.source(video_id) is None


def test_cancel_waiting(weir):
    api = weir.start_api()
    video_id = weir.upload(b"x")["id"]
    answer = api.request("POST", f"/api/v1/videos/{video_id}/cancel")
    assert (answer.status, answer.json()["state"]) == (200, "cancelled")
    outcome = json.loads(weir.store.get(weir.store.processed, f".outcomes/{video_id}/1.json"))
    assert outcome["outcome"] == "cancelled"
    again = api.request("POST", f"/api/v1/videos/{video_id}/cancel")
    assert (again.status, again.problem) == (409, "conflict")
    assert "cancelled" in again.json()["detail"]
    assert weir.redis.call("ZCARD", "{weir}:open") == 0


def test_cancel_comes_second_to_an_outcome(weir_dir):
    api = weir_dir.start_api()
    video_id = weir_dir.upload(b"x")["id"]
    publish(weir_dir, video_id)
    answer = api.request("POST", f"/api/v1/videos/{video_id}/cancel")
    assert answer.status == 409 and "completed" in answer.json()["detail"]


def test_retry_makes_a_new_generation(weir):
    api = weir.start_api()
    video_id = weir.upload(b"x")["id"]
    path = f"/api/v1/videos/{video_id}"
    waiting = api.request("POST", f"{path}/retry")
    assert (waiting.status, waiting.problem) == (409, "conflict")
    api.request("POST", f"{path}/cancel")
    answer = api.request("POST", f"{path}/retry")
    assert (answer.status, answer.json()["state"]) == (202, "waiting")
    assert f".requests/{video_id}/2.json" in weir.raw_keys()
    assert weir.redis.call("ZSCORE", "{weir}:open", f"{video_id}.2")
    assert weir.redis.call("ZCARD", "{weir}:finishing") == 0
    assert weir.redis.call("ZCARD", "{weir}:open") == 1


def test_a_retry_that_was_asked_for_is_found_again(weir_dir):
    """The request is there, the job is not: as after a crash between the two."""
    weir_dir.start_api()
    video_id = weir_dir.upload(b"x")["id"]
    fail(weir_dir, video_id)
    weir_dir.store.put(weir_dir.store.raw, f".requests/{video_id}/2.json", b"{}")
    weir_dir.redis.lose_everything()
    wait_for(lambda: weir_dir.redis.call("ZSCORE", "{weir}:open", f"{video_id}.2"), 20, "the job")
    assert weir_dir.video(video_id)["state"] == "waiting"


@pytest.mark.parametrize("end, state", [(publish, "completed"), (fail, "failed")])
def test_redis_is_rebuilt_with_what_became_of_videos(weir, end, state):
    weir.start_api()
    ended = weir.upload(b"x", title="ended")["id"]
    waiting = weir.upload(b"y", title="waiting")["id"]
    end(weir, ended)
    weir.redis.lose_everything()

    video = weir.wait_for_state(ended, state, timeout=20)
    assert (video["title"], video["playable"]) == ("ended", state == "completed")
    assert video["error"] == (None if state == "completed" else "no video stream")
    wait_for(lambda: weir.redis.call("EXISTS", "{weir}:epoch"), 20, "the epoch")
    assert weir.video(waiting)["state"] == "waiting"
    assert [v["id"] for v in weir.videos()] == [waiting, ended]
    assert weir.redis.call("ZCARD", "{weir}:open") == 1


def test_while_redis_is_rebuilt(weir_dir):
    """Before the epoch stands: one video is read from the store, the list says so, changes are refused."""
    api = weir_dir.start_api()
    video_id = weir_dir.upload(b"x", title="T")["id"]
    weir_dir.redis.call("SET", "{weir}:reconciler", "somebody", "PX", "60000")  # no rebuild for now
    weir_dir.redis.call("DEL", "{weir}:epoch", f"{{weir}}:video:{video_id}")
    video = weir_dir.video(video_id)
    assert (video["state"], video["title"]) == ("waiting", "T")
    assert api.get("/api/v1/videos").json()["rebuilding"] is True
    assert weir_dir.post([("video", "a.mp4", b"x")]).problem == "rebuilding"
    for action in ("cancel", "retry"):
        answer = api.request("POST", f"/api/v1/videos/{video_id}/{action}")
        assert answer.status == 503 and answer.header("Retry-After"), answer
    weir_dir.redis.call("DEL", "{weir}:reconciler")
    wait_for(lambda: "rebuilding" not in api.get("/api/v1/videos").json(), 20, "the rebuild")
    assert weir_dir.upload(b"x")


def test_pages_of_other_origins_change_nothing(weir_dir):
    """A form, or a script's plain POST, is sent by a browser without asking the api first."""
    weir_dir.start_api()
    video_id = weir_dir.upload(b"x" * 100)["id"]
    path = f"/api/v1/videos/{video_id}"
    page = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    api = weir_dir.api()
    for method, target in ("POST", f"{path}/cancel"), ("POST", f"{path}/retry"), ("DELETE", path):
        answer = api.request(method, target, headers=page)
        assert answer.status == 403 and answer.problem == "cross-origin"
    assert weir_dir.video(video_id)["state"] == "waiting"
    assert api.request("POST", f"{path}/cancel", headers={"Origin": api.url}).status == 200


@pytest.mark.parametrize("name", ["limit", "state", "cursor"])
def test_a_value_that_is_too_long_is_not_taken_for_none(weir_dir, name):
    answer = weir_dir.start_api().get(f"/api/v1/videos?{name}={'9' * 2000}")
    assert answer.status == 400 and answer.problem == "invalid"


def test_openapi_describes_every_route(weir_dir):
    api = weir_dir.start_api()
    document = api.get("/api/v1/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    video = weir_dir.upload(b"x")
    required = document["components"]["schemas"]["Video"]["required"]
    assert set(required) <= set(video)
    for path, methods in document["paths"].items():
        for method in set(methods) & {"get", "delete"}:
            answer = api.request("HEAD" if method == "get" else "DELETE", path.replace("{id}", "v_x"))
            assert answer.status != 405, path
