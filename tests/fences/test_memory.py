"""After a destruction is complete no living process has an old key or a destroyed plaintext in its memory."""

import secrets
import signal

import pytest

from tests.fences.service import MIB, Service, canary, eventually, pdf, stop
from tests.services.memory import found_in, only_for_root

pytestmark = [only_for_root, pytest.mark.long]


def test_after_completion_no_process_has_an_old_key_or_a_destroyed_plaintext(service: Service) -> None:
    canaries = {f"canary {number}": canary() for number in range(3)}
    name = f"Zephyrine{secrets.token_hex(12)}"
    with service.client() as client, service.wire() as slow:
        doomed = service.file(client, pdf(20 * MIB, *canaries.values()), name)
        others = [service.file(client, pdf(50_000)) for _ in range(12)]
        kept_content = pdf(60_000)
        kept = service.file(client, kept_content)
        assert (
            service.operator.run("hold", "place", kept, "--kind", "audit", "--authority", "A", "--docket", "1").code
            == 0
        )
        old = service.values({"doomed": doomed, "other": others[0]}) | canaries | {"name": name.encode()}
        assert slow.begin_get(doomed).startswith(b"HTTP/1.1 200 ")
        workers = service.workers()

        # The scan sees: a worker that is reading has the record's key and its plaintext.
        seen = set().union(*(found_in(pid, old) for pid in workers))
        assert "record key of doomed" in seen
        assert seen & canaries.keys()

        destroyer = service.operator.start("scrub", service.operator.order_scrub(), "--yes", "--json")
        try:
            query = "SELECT count(*) FROM destructions WHERE kind = 'scrub' AND completed_at IS NOT NULL"
            eventually(lambda: service.rows(query)[0][0] == 1, "the scrub is complete", every_s=0.002)
            stop(destroyer.pid)
            after = service.scan(old, destroyer.pid)
            destroyer.send_signal(signal.SIGCONT)
            output, _ = destroyer.communicate(timeout=60)
        finally:
            destroyer.kill()
            destroyer.wait()
            assert destroyer.stdout
            destroyer.stdout.close()
        assert destroyer.returncode == 0, output
        assert '"nodes_exited": 3' in output
        assert {pid: found for pid, found in after.items() if found} == {}
        assert len(after) >= 3, "supervisor, object store and destroyer at least"
        service.until_complete()
        assert not service.workers() & workers
        assert service.get(client, doomed).status_code == 410
        assert service.get(client, kept).content == kept_content
        assert {pid: found for pid, found in service.scan(old).items() if found} == {}
