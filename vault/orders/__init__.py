"""Orders: what people sign, who must have signed it, and the authority that it gives."""

from .accepting import Accepted, accept_order, load_order, require_order, use_order
from .actions import QUORUMS, STANDING, Action, missing_places
from .adopting import Adopted, adopt_policy, approvals_of, lacking_approvals, require_standing, verify_standing
from .order import Order
from .signatures import Approval, approve

__all__ = [
    "QUORUMS",
    "STANDING",
    "Accepted",
    "Action",
    "Adopted",
    "Approval",
    "Order",
    "accept_order",
    "adopt_policy",
    "approvals_of",
    "approve",
    "lacking_approvals",
    "load_order",
    "missing_places",
    "require_order",
    "require_standing",
    "use_order",
    "verify_standing",
]
