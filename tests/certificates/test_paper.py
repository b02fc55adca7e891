"""The PDF says what the JSON says, is tagged, and a rehearsal's says REHEARSAL on every page."""

import re
import zlib

import pytest

from tests.certificates.conftest import Issued
from vault import canonical
from vault.certificates import paper, render
from vault.certificates.facts import REHEARSAL


def streams(pdf: bytes) -> bytes:
    """Everything in a PDF, its compressed streams opened."""
    opened = [pdf]
    for found in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            opened.append(zlib.decompress(found.group(1)))
        except zlib.error:
            continue
    return b"\n".join(opened)


def test_the_pdf_is_tagged_and_in_english(issued: Issued) -> None:
    pdf = render(issued.certificate.content, canonical.decode(issued.certificate.document)["signature"])
    inside = streams(pdf)
    assert pdf.startswith(b"%PDF-")
    for part in (b"/StructTreeRoot", b"/MarkInfo", b"/Lang", b"/TH", b"/H1"):
        assert part in inside


def test_every_fact_is_on_paper(issued: Issued) -> None:
    """Of what was signed nothing that a reader must know is left out, and nothing is put in unescaped."""
    content = issued.certificate.content
    content["program"]["name"] = "<b>Bold & Sons</b>"
    page = paper._page(content, {"key": "k", "value": "v"})
    assert "&lt;b&gt;Bold &amp; Sons&lt;/b&gt;" in page
    assert "<b>Bold" not in page
    for sentence in [*content["not_destroyed"], *content["cannot_prove"]]:
        assert sentence.replace("'", "&#x27;") in page
    for approver in content["authority"]["approvers"]:
        assert approver["person"] in page
        assert approver["key"] in page
    for fact in (content["list_root"], content["keys"]["old_master"], "69 days", "March 31, 2028, met"):
        assert fact in page
    assert "REHEARSAL" not in page


@pytest.mark.parametrize("destroyed", [0, 12])
def test_a_rehearsal_says_so(issued: Issued, destroyed: int) -> None:
    content = issued.certificate.content | {"format": REHEARSAL}
    content["counts"] = content["counts"] | {"destroyed": destroyed}
    page = paper._page(content, {"key": "k", "value": "v"})
    # A fixed box is on every page.
    assert '<div class="rehearsal">REHEARSAL</div>' in page
    assert "It certifies nothing." in page
    assert ("none was destroyed" in page) is (destroyed == 0)
