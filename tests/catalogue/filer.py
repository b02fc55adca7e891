"""A process that files: `python -m tests.catalogue.filer HOME TOKEN COUNT`; prints the ids of what was acknowledged."""

import sys
from pathlib import Path

from tests.vault.world import png, upload
from vault.access import authenticate
from vault.errors import BusyError
from vault.home import open_vault
from vault.ids import new_id
from vault.records.filing import complete_record, open_record


def main(home: Path, token: str, count: int) -> None:
    with open_vault(home) as vault:
        center = authenticate(vault, token)
        while count:
            try:
                record = open_record(vault, center, idempotency_key=new_id(), applicant={}, body=b"").record_id
            except BusyError:
                continue
            upload(vault, center, record, "card.png", png())
            complete_record(vault, center, record)
            sys.stdout.write(f"{record}\n")
            sys.stdout.flush()
            count -= 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
