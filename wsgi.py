"""Entry point: `gunicorn wsgi:app`, `flask --app wsgi <command>`."""

from crm.app import create_app
from jobs import cli

app = create_app()
cli.register_commands(app)
