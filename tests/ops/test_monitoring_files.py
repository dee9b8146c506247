"""Prometheus rules, dashboard and runbook fit each other and the metrics that the service has."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from crm.core.db import transaction
from crm.staff import alerts

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "docs" / "deploy" / "prometheus-rules.yml"
RULES = yaml.safe_load(RULES_FILE.read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "docs" / "deploy" / "grafana-dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
SECTIONS = {
    re.sub(r"[^a-z ]", "", line[3:].lower()).replace(" ", "-")
    for line in (ROOT / "docs" / "runbook.md").read_text().splitlines()
    if line.startswith("## ")
}
SPECS = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{job="clinic"}}', values: '1x40'}}
      - {{series: 'crm_stopped', values: '0x40'}}
      - {{series: 'crm_mail_waits', values: '0x10 1200x30'}}
      - {{series: 'crm_open_alerts{{kind="backup"}}', values: '0x5 1x70'}}
    alert_rule_test:
      - {{eval_time: 9m, alertname: ClinicMailWaits, exp_alerts: []}}
      - eval_time: 20m
        alertname: ClinicMailWaits
        exp_alerts: [{{exp_labels: {{severity: page}}, exp_annotations: {{
          summary: Email has been due for 20m 0s., runbook: docs/runbook.md#mail-waits}}}}]
      - {{eval_time: 20m, alertname: ClinicUnreachable, exp_alerts: []}}
      - {{eval_time: 30m, alertname: ClinicBackup, exp_alerts: []}}
      - eval_time: 70m
        alertname: ClinicBackup
        exp_alerts: [{{exp_labels: {{severity: page, kind: backup}}, exp_annotations: {{
          summary: "A backup failed, or the newest is older than 26 hours.", runbook: docs/runbook.md#backup}}}}]
"""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_names_its_section_of_the_runbook(rule):
    page, _, section = rule["annotations"]["runbook"].partition("#")
    assert (page, section in SECTIONS) == ("docs/runbook.md", True)


def test_every_metric_in_rules_and_dashboard_exists(client, database):
    with transaction():
        alerts.raise_alert(key="erasure-asked:7", level="warning", text="Look")
    text = client.get("/metrics").text
    assert 'crm_open_alerts{kind="erasure-asked"} 1.0' in text
    there = set(re.findall(r"^# TYPE (\w+)", text, flags=re.MULTILINE))
    named = set(re.findall(r"crm_\w+", " ".join([*QUERIES, *(rule["expr"] for rule in RULES)])))
    assert named <= there


def test_promtool_accepts_the_rules_and_fires_them(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here (apt-get install prometheus).")
    specs = tmp_path / "specs.yml"
    specs.write_text(SPECS.format(rules=RULES_FILE))
    for command in (["check", "rules", RULES_FILE], ["test", "rules", specs]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
