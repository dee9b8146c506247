"""Questions of the claims check about single sentences, and the reviewers' answers."""
