"""Production as it is documented: the built release, real servers, a proxy with TLS."""
