"""`shredvault certificate`: made by every sweep, handed out as files, and checked by the file that comes with them."""

import json
import re
import subprocess
import sys
from datetime import timedelta

from tests.cli.operator import Operator


def test_a_sweep_leaves_a_certificate_that_anybody_can_check(operator: Operator) -> None:
    operator.file(2)
    operator.file(1, ago=timedelta(days=1))
    swept = operator.run("sweep", "--json").data["id"]

    (line,) = operator.run("certificate", "list", "--json").data["certificates"]
    assert (line["id"], line["kind"], line["destroyed"]) == (swept, "sweep", 2)
    assert operator.run("certificate", "show", swept, "--json").data["counts"]["destroyed"] == 2
    told = operator.run("certificate", "show", swept).out
    assert "It cannot prove:" in told
    assert re.search(r"listed +\d+\n +destroyed +2\n.* complete +[0-9-]+ [0-9:]+ UTC\n", told, re.DOTALL)
    assert operator.run("certificate", "show", "nothing").code == 3

    folder = operator.folder / "handed-out"
    exported = operator.run("certificate", "export", swept, "--to", str(folder), "--json")
    assert set(exported.data["files"]) == {path.name for path in folder.iterdir()}
    assert (folder / "certificate.pdf").read_bytes().startswith(b"%PDF-")
    words = ["certificate.json", "--key", "vault.key", "--ledger", "ledger.json"]
    alone = subprocess.run(
        [sys.executable, "-I", "verify_certificate.py", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (alone.returncode, alone.stdout.splitlines()[0]) == (0, "VALID")

    paths = [str(folder / "certificate.json"), "--key", str(folder / "vault.key")]
    assert operator.run("certificate", "verify", *paths).code == 0
    missing = operator.run("certificate", "verify", str(folder / "no.json"), *paths[1:])
    assert (missing.code, "no.json is not there" in missing.out, "INVALID" in missing.out) == (2, True, False)
    said = json.loads((folder / "certificate.json").read_bytes())
    said["certificate"]["counts"]["destroyed"] = 3
    (folder / "certificate.json").write_text(json.dumps(said))
    refused = operator.run("certificate", "verify", *paths)
    assert refused.code == 10
    assert refused.err.endswith("The certificate proves nothing as it is.\n")
