"""Holds: what protects records from every destruction, who may place one, and how one ends.

A hold is in force on the commit that places it, by one person (H2). What it matches is asked when records are
condemned, in that transaction (H8). It ends on an order that two people signed, after its tail, and by nothing else
(H3, H4, H5). It gives no right to read (H9), and changes nothing about records but that they cannot be destroyed: the
retention clock goes on (H6), and reading, integrity checks and re-wrapping go on for those entitled (H10).
"""

from .copying import copy_held_keys
from .late import acknowledge_late, late_holds
from .placing import NothingToHoldError, Placed, extend_hold, place_hold, widen_hold
from .review import HoldLine, answer_for, attention, list_holds, show_hold
from .scopes import Scope
from .sealed import Confidence, draw_key, unseal
from .terms import Kind, Terms

__all__ = [
    "Confidence",
    "HoldLine",
    "Kind",
    "NothingToHoldError",
    "Placed",
    "Scope",
    "Terms",
    "acknowledge_late",
    "answer_for",
    "attention",
    "copy_held_keys",
    "draw_key",
    "extend_hold",
    "late_holds",
    "list_holds",
    "place_hold",
    "show_hold",
    "unseal",
    "widen_hold",
]
