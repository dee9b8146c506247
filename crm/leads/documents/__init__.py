"""Documents: files that staff attach to a lead or a contact, and faxes that arrive in a folder."""
