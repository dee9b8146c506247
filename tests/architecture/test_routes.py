"""Pages reachable without sign-in are a reviewed list."""

from crm.web import access_guard

PUBLIC = """
    /static/<path:filename> /bootstrap/static/<path:filename> /fs-static/<path:filename>
    /health/live /health/ready /health/proxy /api/v1/openapi.json
    /sign-in/<token> /sign-in/link /sign-in/passkey /sign-in/passkey/challenge /sign-in/sso /sign-in/sso/answer
    /calendar/<token>.ics
    /clinic/logo /clinic/style.css
    /your-data /your-data/sent /d/<token> /d/<token>/copy /d/<token>/erase
    /c/<token> /u/<token> /u/<token>/topic /u/<token>/undo /p/<token>
    /a/<token> /a/<token>/<answer>
    /contact /contacto /<mistyped_contact:typed> /contact/challenge /contact/sent
    /education /language-help /nondiscrimination /privacy-practices /health-data-privacy
    /refer/sign-in /refer/sign-in/sent /refer/sign-in/passkey /refer/sign-in/passkey/challenge
    /refer/in/<token> /refer/join /refer/join/sent
    /webhooks/sendgrid /metrics / /robots.txt /favicon.ico
""".split()  # noqa: SIM905


def by_kind(app, kind):
    return {
        rule.rule for rule in app.url_map.iter_rules() if access_guard.kind_of(app, rule.endpoint) == kind
    }


def test_every_address_is_guarded(app):
    assert by_kind(app, "public") == set(PUBLIC)
    assert by_kind(app, None) == set()


def test_api_needs_a_key(app):
    assert by_kind(app, "key") == {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and "openapi" not in rule.rule
    }


def test_sign_in_pages(app):
    assert by_kind(app, "sign-in") == {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("security.") and "static" not in rule.endpoint
    }


def test_get_changes_nothing(app):
    """Whatever acts takes POST alone; links in emails are opened by scanners."""
    acting = {"POST", "PUT", "PATCH", "DELETE"}
    both = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.methods & acting and "GET" in rule.methods and not rule.endpoint.startswith("security.")
    }
    assert both <= {"/contact"}
