"""Custodians: what holds a master key. One protocol, chosen by a URI in the configuration.

A master key never leaves its custodian in the clear except through `unwrap`, which gives a *root* key.
Names are made by the caller and journaled before `create`, so that a master whose creation was cut off
can be found and destroyed.
"""

from __future__ import annotations

from .contract import Assurance, Custodian, MasterState
from .file import FileCustodian
from .registry import Ask, open_custodian

__all__ = ["Ask", "Assurance", "Custodian", "FileCustodian", "MasterState", "open_custodian"]
