"""Client of the OpenID provider of single sign-on."""

from authlib.integrations.flask_client import OAuth
from flask import Flask

from crm.core.config import SingleSignOn

_SECONDS = 10  # the provider may take


def init_single_sign_on(app: Flask, settings: SingleSignOn | None) -> None:
    """Register the OpenID provider with the app, if there is one. Connects to nothing yet."""
    oauth = OAuth(app)
    if settings is not None:
        oauth.register(
            "staff",
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            server_metadata_url=f"{settings.issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "default_timeout": _SECONDS,
            },
        )
    app.extensions["single_sign_on"] = oauth
