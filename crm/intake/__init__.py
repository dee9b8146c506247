"""Every way in (form, API, portal, import) ends in one service."""
