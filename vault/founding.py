"""Founding a vault: what is chosen once, and the first content of its catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from pydantic import SecretStr

from keystore import Custodian, Tree
from vault.catalogue import keys
from vault.catalogue.schema import policies, trees, vaults
from vault.context import Vault, note
from vault.errors import HomeError, PolicyError
from vault.law.policy import Policy
from vault.law.schedule import end_of
from vault.ledger.publishing import publish
from vault.orders.adopting import insert_policy
from vault.orders.signatures import POLICIES, approve
from vault.timekeeping import found_marks
from vault.trees.keyring import found_tree

__all__ = ["Founding", "found_catalogue"]


@dataclass(frozen=True, slots=True)
class Founding:
    """What is chosen once, when a vault is founded."""

    home: Path
    objects: str
    """`embedded`, or the URL of an S3 endpoint, or `aws`."""
    objects_folder: Path
    bucket: str
    region: str
    custodian: str
    time_zone: str
    retention_months: int
    access_key: str | None = None
    secret_key: SecretStr | None = None
    policy: bytes | None = None
    """The first policy's document; None for one without people, made of time zone and retention."""
    approvals: tuple[bytes, ...] = ()
    """Signatures over the policy's document."""
    database: str | None = None
    """URL of the catalogue's database, without a password; None for a SQLite file in the home."""

    def first_policy(self) -> Policy:
        """The policy with which the vault begins.

        Raises:
            PolicyError: it is not valid, or is not a first version.
        """
        if self.policy is None:
            return Policy(1, self.time_zone, self.retention_months)
        policy = Policy.decode(self.policy)
        if policy.version != 1:
            message = "A vault is founded with version 1 of its policy."
            raise PolicyError(message)
        return policy

    def chose(self, document: bytes) -> bool:
        """Whether a vault that was founded with this policy was founded with these choices."""
        if self.policy is not None:
            return self.policy == document
        founded = Policy.decode(document)
        return (founded.time_zone, founded.retention_months) == (self.time_zone, self.retention_months)


def found_catalogue(vault: Vault, custodian: Custodian, founding: Founding) -> bool:
    """Make the first version of both trees and the first rows; False when that was done before.

    Raises:
        HomeError: the catalogue was founded with other choices, or the bucket holds another vault's keys.
        CustodianError, ObjectStoreError, CatalogueError: a service failed; run it again.
    """
    catalogue, bucket, vault_id, now = vault.catalogue, vault.bucket, vault.vault_id, vault.clock.now()
    with catalogue.read() as tx:
        there = tx.execute(sa.select(vaults.c.vault_id)).scalar()
        if there is not None and there != vault_id:
            message = "The database holds the catalogue of another vault; choose another database or schema."
            raise HomeError(message)
        if there is not None:
            founded = tx.execute(sa.select(policies.c.document).where(policies.c.version == 1)).scalar_one()
            if not founding.chose(founded):
                message = "The vault was founded with another choice of: time zone, retention or policy."
                raise HomeError(message)
            return False
    first = founding.first_policy()
    approvals = approve(first.encode(), founding.approvals, POLICIES, first, now) if founding.approvals else ()
    # S7: nobody can have decided anything yet, so at the deadline everything goes.
    deadline = end_of(first.sunset.deadline, first.zone) if first.sunset is not None else None
    to_end = custodian.ends_masters and deadline is not None and now < deadline
    ends = {Tree.ACTIVE: deadline if to_end else None, Tree.HELD: None}
    staged = [found_tree(bucket, custodian, vault_id, tree, ends[tree]) for tree in Tree]
    with catalogue.write() as tx:
        tx.execute(sa.insert(vaults).values(only=1, vault_id=vault_id, founded_at=now, published_digest=bytes(32)))
        found_marks(tx, now)
        policy_facts = insert_policy(tx, first, approvals, None, now)
        for tree in staged:
            root = tree.root
            tx.execute(sa.insert(trees).values(tree=root.tree, version=1, next_version=2))
            keys.plan_master(tx, root.master, root.tree, root.epoch, custodian.uri, ends[root.tree])
            keys.save_staged(tx, root, ())
        facts = {
            "custodian": custodian.uri,
            "masters": [tree.root.master for tree in staged],
            "policy": policy_facts,
            "log_key": str(vault.signing.verifier),
        }
        note(tx, now, "founded", vault_id.hex(), facts)
    publish(vault)
    return True
