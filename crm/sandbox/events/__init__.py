"""The events of accepted mail: made, signed, posted to the webhook."""
