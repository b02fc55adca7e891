"""Limits and log lines as they are in a real worker."""

import json
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from api.http.limits import Limits
from api.http.logs import FIELDS
from tests.fences.service import Service, eventually, pdf


@pytest.mark.long
def test_too_many_and_silent_senders_are_refused_and_the_log_says_nothing_of_them(
    serve: Callable[..., Service],
) -> None:
    service = serve(1)
    content = pdf(100_000)
    places = Limits().uploads
    with service.client() as client, ExitStack() as stack:
        record = service.open(client, "Zephyrine")
        senders = [stack.enter_context(service.wire()) for _ in range(places)]
        for number, sender in enumerate(senders):
            sender.begin_put(record, len(content), content[:1000], f"passport-{number}.pdf")
        eventually(lambda: f"in_flight {places}.0" in client.get("/metrics").text, "all places are taken")
        refused = service.put(client, record, content)
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:shredvault:problem:overloaded"
        assert "retry-after" in refused.headers
        # One goes on, the others are silent.
        senders[0].socket.sendall(content[1000:])
        assert senders[0].answer()[0] == 201
        for sender in senders[1:]:
            status, _, problem = sender.answer()
            assert (status, problem["type"]) == (408, "urn:shredvault:problem:body-too-slow")
        assert service.put(client, record, content).status_code == 201
    # The line comes when the exchange has ended, after what the caller may still be sending.
    eventually(lambda: '"status": 408' in "".join(list(service.lines)), "the refusals are in the log")
    lines = [json.loads(line) for line in list(service.lines) if line.startswith("{")]
    assert {line["status"] for line in lines if "status" in line} >= {201, 408, 503}
    assert not [line for line in lines if line.keys() - FIELDS]
    assert any("memory" in line["event"] and "core dumps" in line["event"] for line in lines)
    told = "".join(service.lines)
    assert "Zephyrine" not in told
    assert "passport" not in told
