"""The HTTP face, version 1: `app.create_app` makes it, `server.run_server` serves it.

A request passes: `edge` (limits, headers, log line, metrics, problems) → the routes of `records`, `uploads`,
`downloads`, `health` → one use case of `vault` in a thread of `workers`.
"""
