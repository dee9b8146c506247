"""A new email: from a blank, or from the words of an email that there is, in each language that has a subject."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import select

from crm.content import catalog
from crm.content.editor import service as editor
from crm.content.editor.form_codec import Parts, build_source, split_fields
from crm.content.models import ContentItem, ContentVersion
from crm.content.render.fields import COMMERCIAL, LANGUAGES
from crm.content.render.merge_fields import clean
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Invalid

LONGEST_SUBJECT = 200
AUDIENCES = {  # stream -> who gets it
    "prospect_edu": "People who asked us for educational emails",
    "referred_edu": "Patients whom a practice referred",
    "provider_nurture": "Clinicians who refer patients",
}
_BUTTON = {
    "en": {"patient": "Read the guide | education_url", "provider": "Refer a patient | referral_url"},
    "es": {"patient": "Leer la guía | education_url", "provider": "Referir a un paciente | referral_url"},
}
_BLANK = {
    "en": "Hello {{ first_name }},\n\n…\n\n%(button)s\n\nWarm regards,\\\nThe team at {{ clinic_name }}\n\n%(blocks)s\n",
    "es": "Hola {{ first_name }}:\n\n…\n\n%(button)s\n\nUn saludo cordial,\\\nEl equipo de {{ clinic_name }}\n\n%(blocks)s\n",
}
_PREHEADER = {"en": "A short read from our team.", "es": "Una lectura breve de nuestro equipo."}


def patterns() -> list[tuple[int, str]]:
    """Return (id, subject) of the emails that a new one may begin from, by subject."""
    items = db.session.scalars(select(ContentItem).where(ContentItem.kind == "email")).all()
    titles = catalog.titles([item.id for item in items])
    found = [(item.id, titles.get(item.id, item.label)) for item in items if item.stream in COMMERCIAL]
    return sorted(found, key=lambda one: one[1].casefold())


def begin(
    *, subjects: Mapping[str, str], stream: str, pattern: int | None, actor: str
) -> Sequence[ContentVersion]:
    """Begin a new email with a draft in each language that has a subject. `pattern` is the item it begins from.

    Raises Invalid without a subject, for one that another email has, or without a kind of recipient.
    """
    wanted = {language: clean(subjects.get(language, ""))[:LONGEST_SUBJECT] for language in LANGUAGES}
    wanted = {language: subject for language, subject in wanted.items() if subject}
    model = editor.get_item(pattern) if pattern is not None else None
    _check(wanted, stream=stream, model=model)
    title = next(iter(wanted.values()))
    made = ContentItem(
        key=editor.free_key(title),
        kind="email",
        title=title,
        stream=model.stream if model else stream,
        created_at=clock.now(),
    )
    db.session.add(made)
    db.session.flush()
    return [
        _draft(made, model, language=code, subject=subject, actor=actor) for code, subject in wanted.items()
    ]


def _check(wanted: Mapping[str, str], *, stream: str, model: ContentItem | None) -> None:
    wrong: dict[str, list[str]] = {}
    if not wanted:
        wrong["subject_en"] = ["Enter a subject in at least one language."]
    for language, subject in wanted.items():
        if catalog.is_subject_taken(subject):
            wrong[f"subject_{language}"] = ["Another email has this subject. Choose a different one."]
    if model is None and stream not in AUDIENCES:
        wrong["stream"] = ["Choose who gets it."]
    if model is not None and (model.kind != "email" or model.stream not in COMMERCIAL):
        wrong["pattern"] = ["Choose an educational email."]
    if wrong:
        raise Invalid(wrong)


def _draft(
    item: ContentItem, model: ContentItem | None, *, language: str, subject: str, actor: str
) -> ContentVersion:
    if model is None:
        text = build_source(_blank(item.stream or "", language=language, subject=subject))
        return editor.create_draft(item, language=language, text=text, number=1, author=actor)
    source = editor.example(model.id, language=language)
    parts = replace(split_fields(source.source), language=language, subject=subject, purpose=item.title)
    made = editor.create_draft(item, language=language, text=build_source(parts), number=1, author=actor)
    editor.keep_authors(made, of=source)
    return made


def _blank(stream: str, *, language: str, subject: str) -> Parts:
    provider = stream == "provider_nurture"
    blocks = ("emergency",) if provider else ("not-advice", "emergency")
    button = _BUTTON[language]["provider" if provider else "patient"]
    body = _BLANK[language] % {
        "button": f"[[button: {button}]]",
        "blocks": "\n\n".join(f"[[block: {name}]]" for name in blocks),
    }
    return Parts(
        kind="email",
        language=language,
        stream=stream,
        subject=subject,
        preheader=_PREHEADER[language],
        purpose=subject,
        body=body,
        blocks=blocks,
        cta=button.partition("| ")[2],
    )
