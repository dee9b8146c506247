"""Signing in of staff: passwords, second factor, passkeys, single sign-on, and what slows down guessing."""
