"""The referrers' portal under /refer."""

from flask import Blueprint

from crm.portal import page_context
from crm.portal import portal as referrals
from crm.portal.uploads import portal as uploads
from crm.referrers import portal as account

# one line per feature that has a portal.py
FEATURES: list[Blueprint] = [referrals.pages, account.pages, uploads.pages]

# what is around a page is the same on all of them
account.pages.context_processor(page_context.frame)
account.pages.before_request(page_context.keep_language)
