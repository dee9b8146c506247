"""Entry point: `gunicorn wsgi:app`, `flask --app wsgi <command>`."""

from crm.app import create_app

app = create_app()
