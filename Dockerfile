FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CRM_MODE=production BIND=0.0.0.0 \
    SENDING_MARK_FILE=/var/lib/clinic/sending-mark.json
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt && useradd --system --home /app clinic \
    && install -d -o clinic /var/lib/clinic
COPY . .
USER clinic
EXPOSE 8000
CMD ["gunicorn", "wsgi:app", "--config", "crm/web/gunicorn.py"]
