"""Records: filing, retrieval, holds, retention, destruction, and the storage under them.

Each module is one use case or one service; `vault.context.Vault` is what they all work on.
"""
