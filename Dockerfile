# The image of every process. It holds code, production packages and compiled translations; no secret, no test, no tool.
# Pin the base to a digest in your own registry: docker build --build-arg BASE=python:3.11-slim@sha256:...
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements.txt /tmp/
RUN /venv/bin/pip install --require-hashes -r /tmp/requirements.txt
COPY crm /app/crm
COPY jobs /app/jobs
COPY templates /app/templates
COPY wsgi.py /app/
WORKDIR /app
RUN /venv/bin/python -m crm.web.translations && /venv/bin/python -m compileall -q crm jobs wsgi.py

FROM ${BASE}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CRM_MODE=production BIND=0.0.0.0 \
    SENDING_MARK_FILE=/var/lib/clinic/sending-mark.json LOCAL_DIR=/var/lib/clinic
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent clinic \
    && install -d -o clinic -m 700 /var/lib/clinic
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "crm.ops.alive", "web"]
CMD ["gunicorn", "wsgi:app", "--config", "crm/web/gunicorn.py"]
