"""What happened -> who acts. The only module of the business that sees every feature."""

from collections.abc import Mapping, Sequence

from crm.events import Event, Handler

TABLE: Mapping[type[Event], Sequence[Handler]] = {}
