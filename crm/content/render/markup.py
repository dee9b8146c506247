"""Markdown to HTML and to plain text, with merge fields kept as marks and links held to where they may lead.

Raw HTML, images and code are not part of the language: they show as the text they are.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from crm.content.render.fields import MARK_CLOSE, MARK_OPEN, URL_FIELDS, mark_fields

WIDTH = 72
LINK_END = "\x1f"  # after an address in plain text: it stands alone on its line, since mail programs take signs beside it
_AFTER_LINK = re.compile(f"{LINK_END}[ .,;:)·|]*\n?")
_RULES = [
    "heading",
    "lheading",
    "list",
    "blockquote",
    "hr",
    "emphasis",
    "link",
    "newline",
    "escape",
    "entity",
]
_MARKED = re.compile(f"{MARK_OPEN}([a-z_]{{1,40}}){MARK_CLOSE}")


def _parser() -> MarkdownIt:
    parser = MarkdownIt("zero", {"html": False, "xhtmlOut": True}).enable(_RULES)
    parser.options["linkify"] = False
    return parser


_MARKDOWN = _parser()


class Markup:
    """Renders Markdown for one language and clinic. `static` holds the values that are the same for everyone."""

    def __init__(self, *, static: Mapping[str, str], host: str) -> None:
        self.static = static
        self.host = host

    def html(self, markdown: str) -> str:
        """Return the Markdown as HTML (XML-clean), merge fields as marks."""
        return str(_MARKDOWN.renderer.render(self._tokens(markdown), _MARKDOWN.options, {}))

    def text(self, markdown: str) -> str:
        """Return the Markdown as plain text wrapped at 72 columns, links written out."""
        return "\n".join(_lines(SyntaxTreeNode(self._tokens(markdown)), width=WIDTH)).strip("\n")

    def line(self, text: str, *, as_html: bool) -> str:
        """Return one line (a subject, a label) with its merge fields marked; it is not Markdown."""
        filled = self._fill(mark_fields(text))
        return escape(filled) if as_html else filled

    def url(self, field: str, *, as_html: bool) -> str:
        """Return the address a URL field stands for, or its mark."""
        return self.line(f"{{{{ {field} }}}}", as_html=as_html)

    def _fill(self, text: str) -> str:
        return _MARKED.sub(lambda found: self.static.get(found[1], found[0]), text)

    def _tokens(self, markdown: str) -> list[Token]:
        tokens = _MARKDOWN.parse(mark_fields(markdown))
        for token in tokens:
            if token.children:
                token.children = list(self._held(token.children))
        return tokens

    def _held(self, tokens: Sequence[Token]) -> Iterator[Token]:
        """Keep links that lead home; show the address of any other as text."""
        elsewhere = ""
        for token in tokens:
            if token.type == "link_open":
                target = self._target(str(token.attrs.get("href", "")))
                elsewhere = "" if target else str(token.attrs.get("href", ""))
                if elsewhere:
                    continue
                token.attrs = {"href": target or ""}
            elif token.type == "link_close" and elsewhere:
                yield Token("text", "", 0, content=f" ({elsewhere})")
                elsewhere = ""
                continue
            token.content = self._fill(token.content)
            yield token

    def _target(self, href: str) -> str | None:
        name = unquote(href).strip(f"{{}} {MARK_OPEN}{MARK_CLOSE}")
        if name in URL_FIELDS:
            return self.static.get(name, f"{MARK_OPEN}{name}{MARK_CLOSE}")
        parts = urlsplit(href)
        home = parts.scheme in ("https", "http") and parts.netloc == self.host
        return href if home else None


def _lines(node: SyntaxTreeNode, *, width: int) -> list[str]:
    """Return the lines of a block node and all in it, paragraphs apart by an empty line."""
    if node.type == "inline":
        return _wrap(_AFTER_LINK.sub("\n", _inline(node)).strip("\n" + LINK_END), width)
    if node.type == "hr":
        return ["-" * 24, ""]
    if node.type == "heading":
        lines = _wrap(_inline(node.children[0]), width)
        return [*lines, ("=" if node.tag == "h1" else "-") * min(width, max(map(len, lines), default=3)), ""]
    if node.type == "paragraph":
        return [*_lines(node.children[0], width=width), ""]
    if node.type in ("bullet_list", "ordered_list"):
        return _items(node, width=width)
    if node.type == "blockquote":
        return _indent(_children(node, width=width - 2), first="> ", rest="> ")
    return _children(node, width=width)


def _children(node: SyntaxTreeNode, *, width: int) -> list[str]:
    return [line for child in node.children for line in _lines(child, width=width)]


def _items(node: SyntaxTreeNode, *, width: int) -> list[str]:
    lines = []
    for number, item in enumerate(node.children, start=int(node.attrs.get("start", 1))):
        first = "- " if node.type == "bullet_list" else f"{number}. "
        inside = _children(item, width=width - len(first))
        lines += _indent(inside, first=first, rest=" " * len(first))[:-1]
    return [*lines, ""]


def _indent(lines: list[str], *, first: str, rest: str) -> list[str]:
    while lines and not lines[-1]:
        lines.pop()
    return [*(((first if at == 0 else rest) + line).rstrip() for at, line in enumerate(lines)), ""]


def _wrap(text: str, width: int) -> list[str]:
    wrapped = []
    for line in text.split("\n"):
        wrapped += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
    return wrapped


def _inline(node: SyntaxTreeNode) -> str:
    if node.type in ("text", "text_special"):
        return node.content
    if node.type == "softbreak":
        return " "
    if node.type == "hardbreak":
        return "\n"
    inside = "".join(_inline(child) for child in node.children)
    if node.type == "link" and node.attrs["href"] != inside:
        return f"{inside}:\n{node.attrs['href']}{LINK_END}"
    return inside
