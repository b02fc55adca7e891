"""`shredvault receipt`: the paper for the applicant, and what they are told later."""

from xml.etree import ElementTree as ET

from tests.cli.operator import Operator
from vault.ids import RecordId, new_id
from vault.records.receipt_codes import code_of


def test_a_receipt_is_printed_and_answered(operator: Operator) -> None:
    (record,) = operator.file(1)
    code = code_of(RecordId(record))
    shown = operator.run("receipt", "print", record)
    assert shown.out.rstrip().endswith(code)
    assert "█" in shown.out

    page = operator.folder / "receipt.svg"
    address = "https://vault.example.org/a&b/"
    assert operator.run("receipt", "print", record, "--to", str(page), "--address", address).code == 0
    words = [text.text for text in ET.parse(page).iter("{http://www.w3.org/2000/svg}text")]
    assert code in words
    assert "https://vault.example.org/a&b/v1/receipts/" in words

    assert operator.run("receipt", "show", code, "--json").data["state"] == "kept"
    assert "at the latest" in operator.run("receipt", "show", code.upper()).out
    swept = operator.run("sweep", "--json").data["id"]
    assert swept in operator.run("receipt", "show", code).out
    told = operator.run("receipt", "show", code, "--json").data
    assert (told["state"], told["certificate"], told["proof"]["list"]["size"]) == ("destroyed", swept, 1)


def test_a_wrong_path_is_a_matter_of_usage_and_not_of_the_vault(operator: Operator) -> None:
    record_id = operator.file(1)[0]
    swept = operator.run("sweep", "--json").data["id"]
    nowhere = operator.folder / "a file" / "x"
    nowhere.parent.write_text("")
    for words in (
        ("receipt", "print", record_id, "--to"),
        ("certificate", "export", swept, "--to"),
        ("ledger", "export"),
        ("ledger", "verify", "--checkpoint"),
        ("hold", "keygen", "--out"),
        ("policy", "draft", "--out"),
    ):
        refused = operator.run(*words, str(nowhere))
        said = refused.err.startswith(f"Not a directory: {nowhere}"), refused.err.count("\n")
        assert (refused.code, said) == (2, (True, 1)), words


def test_there_is_no_receipt_for_nothing(operator: Operator) -> None:
    for words in (("show", "x"), ("show", code_of(RecordId(new_id())))):
        refused = operator.run("receipt", *words)
        assert (refused.code, refused.err) == (3, "There is no receipt with this code.\n")
    for unknown in (new_id(), "é"):
        refused = operator.run("receipt", "print", unknown)
        assert (refused.code, refused.err) == (3, "There is no such record.\n")
