"""Set-up page of the console: the steps of a new clinic, and the findings of the diagnostics, each with its fix."""

from flask import render_template, request
from flask.typing import ResponseReturnValue

from crm.audit import service as audit
from crm.core import current
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.ops import doctor, setup_steps
from crm.staff import access

pages = ConsolePages(
    "setup",
    __name__,
    url_prefix="/setup",
    entries=[ConsoleEntry(label="Set-up", permission="see_settings", order=78, section="Settings")],
)


@pages.get("")
@access.require("see_settings")
def index() -> ResponseReturnValue:
    """Show the steps. With `?check=1` also what the diagnostics find; they ask DNS and the mail provider."""
    settings = current.settings()
    findings = None
    if "check" in request.args:
        findings = doctor.examine(settings)
        audit.record("setup.check", detail={"findings": len(findings)})
    return render_template(
        "console/ops/setup.html",
        steps=list(setup_steps.steps(settings)),
        findings=findings,
        fixes=setup_steps.FIXES,
        webhook=f"{settings.public_url}/webhooks/sendgrid",
        last_post=setup_steps.last_post(),
    )
