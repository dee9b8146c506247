"""Metrics for whoever may have them."""

from dataclasses import replace

import pytest


def test_numbers_for_the_machine_itself(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "crm_mail_waits 0.0" in answer.text
    assert "crm_stopped 0.0" in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 404), ({"Authorization": "Bearer wrong"}, 404), ({"Authorization": "Bearer right"}, 200)],
)
def test_a_token_when_one_is_set(client, app, headers, status):
    kept = app.settings
    app.settings = replace(kept, metrics_token="right")
    try:
        assert client.get("/metrics", headers=headers).status_code == status
    finally:
        app.settings = kept
