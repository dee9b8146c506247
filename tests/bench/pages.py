"""The console's pages that must stay as quick with many people: name -> address in a generated clinic."""

_LISTS = ("call_now", "overdue", "waiting", "stale", "mine", "unassigned", "today")
PAGES = {
    "list": "/console/leads",
    "open": "/console/leads?state=open",
    "overdue": "/console/leads?state=overdue",
    "ended": "/console/leads?state=ended",
    "stage": "/console/leads?stage=lost",
    "kind": "/console/leads?kind=referral",
    "source": "/console/leads?source=import",
    "nobody": "/console/leads?owner=nobody",
    "many_filters": "/console/leads?state=open&kind=referral&stage=accepted&source=api&owner=nobody",
    "none_such": "/console/leads?kind=referral&source=form",
    "by_name": "/console/leads?q=lo",  # so many in either clinic that the page is full
    "by_both_names": "/console/leads?q=mar+ga",
    "by_email": "/console/leads?q=patient77%40example.test",
    "by_phone": "/console/leads?q=213+555+0199",
    "by_reference": "/console/leads/search?q=C-0000077",
    "lead": "/console/leads/C-0000077",
    "board": "/console/leads/board",
    "board_referrals": "/console/leads/board?kind=referral&owner=me",
    "inbox": "/console/leads/inbox",
    "inbox_nobody": "/console/leads/inbox?tab=nobody",
    **{f"work_{name}": f"/console/leads/work?list={name}" for name in _LISTS},
    "tasks": "/console/leads/tasks",
    "tasks_all": "/console/leads/tasks?who=all",
    "imports": "/console/import",
    "exports": "/console/export",
}
