"""The two faces of the vault: `api.http` and `api.cli`."""
