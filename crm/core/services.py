"""Services: what one app works with. Two apps in one process share none of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from sqlalchemy import Select

from crm.core.business_hours import Calendar
from crm.core.config import Settings
from crm.core.demo_clock import DemoClock
from crm.core.field_keys import FieldKeys
from crm.core.link_keys import LinkKeys
from crm.core.mac_keys import MacKeys

TimelineSource = Callable[[Sequence[int]], Select[Any]]
"""Takes the ids of one person's records and returns a select of six columns: at, id, kind, actor, text (encrypted) and
detail (JSONB)."""


@dataclass(kw_only=True)
class Services:
    """Everything an app is configured with or connected to. `crm.app` builds it; `current.services()` returns it.

    `reactions`: event class -> handlers. `timeline_sources`: the tables of a person's timeline, by name.
    `kept`: what features keep per app; see `current.PerApp`.
    """

    settings: Settings
    demo_clock: DemoClock
    field_keys: FieldKeys
    link_keys: LinkKeys
    audit_keys: MacKeys
    calendar: Calendar
    redis: Redis
    reactions: Mapping[type[Any], Sequence[Callable[[Any], None]]]
    timeline_sources: Mapping[str, TimelineSource]
    kept: dict[int, Any] = field(default_factory=dict)
