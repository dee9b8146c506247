"""One machine's embedded servers, the launcher behind `make run`, and the demo clinic. Never imported in production."""
