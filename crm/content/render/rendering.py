"""From a source to a mail: HTML, plain text and subject, rendered once for all who get it. Pure: no database, no clock."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import css_inline
import mrml
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from crm.content.render.markup import Markup
from crm.content.render.merge_fields import Placeholder, clean, fill, to_placeholders
from crm.content.render.merge_fields import substitutions as substitutions
from crm.content.render.source import PAGE, Block, BlockRef, Button, ContentError, Prose, Source, parse_block
from crm.content.render.source import parse as parse

FOOTER, FOOTER_SERVICE = "footer", "footer-service"
PREVIEW_FILLER = "\u034f\u200c\u00a0" * 110  # keeps the first lines of the body off a lock screen
_REMOTE = re.compile(
    r"@import|@font-face|\burl\(|<(?:link|script|iframe|img|object|embed|video|audio)\b|\s(?:src|background)\s*=",
    re.I,
)
_WORDS = ("sources", "advertisement")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicFacts:
    """What a mail says about the clinic. `public_url` has no slash at its end; `address` is the postal one."""

    name: str
    short_name: str
    phone: str
    address: str
    public_url: str
    physician: str = ""
    contact_path: str = "/contact"
    education_path: str = "/education"
    referral_path: str = "/refer"
    portal_path: str = "/portal/"
    console_path: str = "/console/"

    def values(self, language: str) -> dict[str, str]:
        """Return the merge fields that are the same for everyone who reads in that language."""

        def page(path: str) -> str:
            return f"{self.public_url}{path}?lang={language}"

        return {
            "clinic_name": clean(self.name),
            "clinic_phone": clean(self.phone).replace(" ", "\u00a0"),
            "clinic_address": clean(self.address),
            "contact_url": page(self.contact_path),
            "education_url": page(self.education_path),
            "referral_url": page(self.referral_path),
            "portal_url": page(self.portal_path),
            "console_url": self.public_url + self.console_path,
        }


@dataclass(frozen=True, slots=True)
class Rendered:
    """One version in one language, with placeholders. `fields` are the merge fields each recipient must bring."""

    subject: str
    preheader: str
    html: str
    text: str
    fields: frozenset[str]
    placeholders: tuple[Placeholder, ...]
    language: str


@dataclass(frozen=True, slots=True)
class Personal:
    """A mail as one person gets it."""

    subject: str
    preheader: str
    html: str
    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Page:
    """A public page: its title, and HTML to stand inside the site's own layout."""

    title: str
    html: str
    language: str


def blocks_used(source: Source) -> tuple[str, ...]:
    """Return the names of all shared blocks a rendering of the source needs, the footer last."""
    named = [part.name for part in source.parts if isinstance(part, BlockRef)]
    if source.stream != PAGE:
        named.append(FOOTER_SERVICE if source.transactional else FOOTER)
    return tuple(dict.fromkeys(named))


def content_hash(source: Source, *, blocks: Mapping[str, str], layout: str) -> str:
    """Return the SHA-256 (hex) over the file, each block it uses and the layout: what an approval is for.

    `blocks` maps a block's name to the text of its file in the source's language. Raises ContentError for a missing one.
    """
    texts = [("source", source.text), ("layout", layout)]
    texts += [(f"block:{name}", _block_text(blocks, name)) for name in blocks_used(source)]
    digest = hashlib.sha256()
    for name, text in texts:
        for part in (name.encode(), text.encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def render(source: Source, *, blocks: Mapping[str, str], layout: str, clinic: ClinicFacts) -> Rendered:
    """Render a mail once for every recipient.

    `blocks` maps names to block files in the source's language; `layout` is the Jinja-filled MJML. Raises ContentError when a
    block is missing or in another language, or the clinic's postal address is (15 U.S.C. 7704(a)(5) asks for one).
    """
    if not clinic.address.strip():
        raise ContentError(
            "clinic_address", "The clinic's postal address is missing; no mail may go out without it."
        )
    if source.stream == PAGE:
        raise ContentError("stream", "A page is not mailed.")
    markup = Markup(static=clinic.values(source.language), host=urlsplit(clinic.public_url).netloc)
    used = {name: _block(blocks, name, language=source.language) for name in blocks_used(source)}
    html, in_html = _html(source, used, markup, layout)
    text, in_text = to_placeholders(_text(source, used, markup), place="t")
    subject, in_subject = to_placeholders(markup.line(source.subject, as_html=False), place="s")
    preheader, in_preheader = to_placeholders(markup.line(source.preheader, as_html=False), place="s")
    found = in_html | in_text | in_subject | in_preheader
    return Rendered(
        subject=subject,
        preheader=preheader,
        html=html,
        text=text,
        fields=frozenset(one.base.removesuffix("_space").removesuffix("_comma") for one in found),
        placeholders=tuple(sorted(found - (in_preheader - in_subject))),
        language=source.language,
    )


def personalise(rendered: Rendered, fields: Mapping[str, str]) -> Personal:
    """Return the mail for one person; raises ContentError when a field it needs is missing or unfit."""
    return Personal(
        subject=fill(rendered.subject, fields),
        preheader=fill(rendered.preheader, fields),
        html=fill(rendered.html, fields),
        text=fill(rendered.text, fields),
        language=rendered.language,
    )


def render_page(source: Source, *, blocks: Mapping[str, str], clinic: ClinicFacts) -> Page:
    """Render a public page's text as HTML for the site's layout: prose, `aside.note`, `a.button`, `section.sources`."""
    markup = Markup(static=clinic.values(source.language), host=urlsplit(clinic.public_url).netloc)
    used = {name: _block(blocks, name, language=source.language) for name in blocks_used(source)}
    layout = (
        "{% for part in parts %}{% if part.kind == 'button' %}"
        '<p><a class="button btn btn-primary" href="{{ part.url }}">{{ part.label }}</a></p>'
        "{% elif part.kind == 'block' %}"
        '<aside class="note note-{{ part.name }}">'
        "{% if part.title %}<h2>{{ part.title }}</h2>{% endif %}{{ part.html }}</aside>"
        "{% else %}{{ part.html }}{% endif %}\n{% endfor %}"
        '{% if sources %}<section class="sources"><h2>{{ heading }}</h2>'
        "<ol>{% for one in sources %}<li>{{ one }}</li>{% endfor %}</ol></section>{% endif %}"
    )
    body = _template(layout).render(
        parts=_parts(source, used, markup),
        sources=_sources(source, used, markup, as_html=True),
        heading=_block(blocks, FOOTER, language=source.language).words["sources"],
    )
    html, found = to_placeholders(body, place="h")
    if found:
        raise ContentError("body", "A page has no reader's own merge fields.")
    return Page(title=markup.line(source.subject, as_html=False), html=html, language=source.language)


def _block_text(blocks: Mapping[str, str], name: str) -> str:
    if name not in blocks:
        raise ContentError("blocks", f"There is no block called “{name}” in this language.")
    return blocks[name]


def _block(blocks: Mapping[str, str], name: str, *, language: str) -> Block:
    block = _parsed_block(_block_text(blocks, name))
    if block.name != name or block.language != language:
        raise ContentError(
            "blocks", f"The block “{name}” is {block.name} in {block.language}, not in {language}."
        )
    return block


_parsed_block = lru_cache(maxsize=256)(parse_block)


@lru_cache(maxsize=16)
def _template(layout: str) -> Template:
    """Compile the layout. Values come in as HTML that is already escaped, so nothing is escaped twice here."""
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False).from_string(layout)


@lru_cache(maxsize=1)
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False)


def _html(
    source: Source, used: Mapping[str, Block], markup: Markup, layout: str
) -> tuple[str, frozenset[Placeholder]]:
    """Fill the layout, turn marks into placeholders, and compile: mrml would garble the marks in an attribute."""
    footer = _footer(source, used)
    mjml = _template(layout).render(
        language=source.language,
        title=markup.line(clean(source.subject), as_html=True),
        preheader=markup.line(source.preheader, as_html=True) + PREVIEW_FILLER,
        clinic_name=markup.line("{{ clinic_name }}", as_html=True),
        parts=_parts(source, used, markup),
        sources=_sources(source, used, markup, as_html=True),
        footer=markup.html(footer.body),
        why=markup.line(source.why, as_html=True),
        advertisement=_advertisement(source, footer, markup, as_html=True),
        words=footer.words,
    )
    filled, used_fields = to_placeholders(mjml, place="h")
    return _compiled(filled), used_fields


def _compiled(mjml: str) -> str:
    try:
        html = str(_inliner().inline(mrml.to_html(mjml, render_options=mrml.RenderOptions(fonts={})).content))
    except (OSError, ValueError, css_inline.InlineError) as error:
        raise ContentError("layout", f"The layout could not be rendered: {error}") from error
    remote = _REMOTE.search(html)
    if remote:
        raise ContentError("layout", f"Nothing may be loaded from elsewhere, but there is “{remote[0]}”.")
    return html


def _footer(source: Source, used: Mapping[str, Block]) -> Block:
    footer = used[FOOTER_SERVICE if source.transactional else FOOTER]
    for word in _WORDS:
        if word not in footer.words:
            raise ContentError("words", f"The block “{footer.name}” must say its word for “{word}”.")
    return footer


def _advertisement(source: Source, footer: Block, markup: Markup, *, as_html: bool) -> str:
    """Return the line that tells a mail is an advertisement (15 U.S.C. 7704(a)(5)(A)(i)); none in transactional mail."""
    return "" if source.transactional else markup.line(footer.words["advertisement"], as_html=as_html)


def _parts(source: Source, used: Mapping[str, Block], markup: Markup) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    for part in source.parts:
        if isinstance(part, Prose):
            done.append({"kind": "prose", "html": markup.html(part.markdown)})
        elif isinstance(part, Button):
            label = markup.line(part.label, as_html=True)
            done.append({"kind": "button", "label": label, "url": markup.url(part.field, as_html=True)})
        else:
            block = used[part.name]
            title = markup.line(block.title, as_html=True)
            done.append({"kind": "block", "name": part.name, "title": title, "html": markup.html(block.body)})
    return done


def _sources(source: Source, used: Mapping[str, Block], markup: Markup, *, as_html: bool) -> list[str]:
    claims = [*source.claims, *(claim for block in used.values() for claim in block.claims)]
    return [markup.line(one, as_html=as_html) for one in dict.fromkeys(claim.source for claim in claims)]


def _text(source: Source, used: Mapping[str, Block], markup: Markup) -> str:
    footer = _footer(source, used)
    pieces = [_text_part(part, used, markup) for part in source.parts]
    sources = _sources(source, used, markup, as_html=False)
    if sources:
        pieces.append(footer.words["sources"] + ":\n" + markup.text(_numbered(sources)))
    pieces.append("-" * 24)
    pieces.append(_advertisement(source, footer, markup, as_html=False))
    pieces.append(markup.text(source.why))
    pieces.append(markup.text(footer.body))
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _text_part(part: Prose | Button | BlockRef, used: Mapping[str, Block], markup: Markup) -> str:
    if isinstance(part, Prose):
        return markup.text(part.markdown)
    if isinstance(part, Button):
        return f"{markup.line(part.label, as_html=False)}:\n{markup.url(part.field, as_html=False)}"
    block = used[part.name]
    title = markup.line(block.title, as_html=False)
    return f"{title.upper()}\n{markup.text(block.body)}" if title else markup.text(block.body)


def _numbered(lines: Sequence[str]) -> str:
    escaped = (line.replace("*", "\\*").replace("_", "\\_").replace("[", "\\[") for line in lines)
    return "\n".join(f"{number}. {line}" for number, line in enumerate(escaped, start=1))
