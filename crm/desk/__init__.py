"""What staff see of leads: work lists, lead page, inbox, table, board, search, bulk actions."""
