"""Identical requests of one version: answered from what was kept, or by one run of them all.

| module | what is in it |
|---|---|
| `content` | what tells requests of one content apart, and what they share: the response cache's shelf, the flights |
| `flights` | one request's part in that: a hit, a leader of a run, or a follower (single-flight) |
| `company` | what the Dispatcher does with such requests |
| `metrics` | what comes of it, counted, and as Prometheus sees it |

The decisions are elsewhere, as they touch nothing: `router.policy.sharing` (who may share, what a key is),
`router.policy.replies` (what the response cache keeps) and `router.policy.attention` (which requests are looked up,
where that hardly pays). What callers say about it, `router.edge.caching`.
"""
