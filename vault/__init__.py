"""Records: filing, retrieval, holds, retention, destruction, and the storage under them.

Each folder is one part of it, as ARCHITECTURE.md says; each module in it one use case or one service.
`vault.context.Vault` is what they all work on.
"""
