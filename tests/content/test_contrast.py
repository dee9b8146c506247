"""Every word of an email is readable, in light and in dark (WCAG 2.2, 1.4.3): measured as Chromium paints it."""

import pytest
from playwright.sync_api import Browser

from crm.content.render.library import load_library
from crm.content.render.rendering import ClinicFacts, parse, render

CLINIC = ClinicFacts(
    name="Pacific Pain & Wellness Group",
    short_name="Pacific Wellness Group",
    phone="+1 555 010 0199",
    address="100 Example Street, Exampleton, CA 90000",
    public_url="https://clinic.example",
)
EVERYTHING = """---
subject: "Welcome"
preheader: "Two minutes."
purpose: "Every kind of part the layout knows."
stream: prospect_edu
language: en
cta: preferences_url
claims:
  - id: label
    claim: "Ketamine is approved as an anesthetic."
    source: "Ketamine label, Indications and Usage."
---

Ketamine is approved as an anesthetic. **Bold**, *italic*, [a link](contact_url).

## Heading

- item

[[block: off-label]]

[[block: risk-full]]

[[block: evidence]]

[[block: emergency]]

[[block: not-advice]]

[[button: Go on | preferences_url]]
"""
# For each piece of text: its color against the nearest opaque ground behind it.
MEASURE = """() => {
  const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n }
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)
  const ground = node => {
    for (; node; node = node.parentElement) {
      const color = rgba(getComputedStyle(node).backgroundColor)
      if (color[3] === 1) return color
    }
    return [255, 255, 255, 1]
  }
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  const found = []
  while (walk.nextNode()) {
    const words = walk.currentNode.data.trim(), node = walk.currentNode.parentElement
    if (!words || !node.checkVisibility() || ['STYLE', 'TITLE'].includes(node.tagName)) continue
    if (!node.getClientRects().length || node.getBoundingClientRect().height < 2) continue
    const [high, low] = [light(rgba(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a)
    found.push([words.slice(0, 40), Math.round((high + 0.05) / (low + 0.05) * 100) / 100])
  }
  return found
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_of_an_email_can_be_read(browser: Browser, scheme: str) -> None:
    library = load_library()
    mail = render(parse(EVERYTHING), blocks=library.blocks["en"], layout=library.layout, clinic=CLINIC)
    page = browser.new_page(color_scheme=scheme)
    page.set_content(mail.html)
    measured = page.evaluate(MEASURE)
    page.close()
    words = {text for text, _ in measured}
    assert {"Heading", "Go on", "a link", "item"} <= words
    assert len(measured) > 25
    assert {text: ratio for text, ratio in measured if ratio < 4.5} == {}
