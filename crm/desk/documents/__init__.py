"""Pages of documents: the viewer, the fax inbox, uploads."""
