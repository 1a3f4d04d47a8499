"""The assignment that the welcome text of `serve` offers, and that `demo` takes the place of."""

SAMPLE = {
    "mentee_id": "user_088",
    "mentee_name": "Bjørn Solberg",
    "peer_mentor_id": "user_042",
    "coordinator_id": "user_007",
    "org_id": "org_03",
    "start_date": "2026-03-26",
}
