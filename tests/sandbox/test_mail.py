"""One request, the single mails in it."""

from hypothesis import given
from hypothesis import strategies as st

from crm.sandbox.mail import links, mail_at, replacer
from tests.sandbox.requests_data import letter, person


def test_a_mail_is_what_its_receiver_would_see() -> None:
    body = letter(
        personalizations=[person("ana@mail.example", 0), person("bo@mail.example", 1)],
        custom_args={"msg": "shared", "run": "7"},
        headers={"List-Unsubscribe": "shared", "X-Run": "7"},
        reply_to={"email": "care@clinic.example"},
    )
    mail = mail_at(body, 1, request_id="abc", received_at=0)
    assert mail.id == "abc.1"
    assert (mail.to, mail.subject, mail.text) == (
        ("bo@mail.example",),
        "Hello Ana 1",
        "Dear Ana 1\nhttps://clinic.example/u/1",
    )
    assert mail.html == "<head></head><p>Dear Ana 1</p><a href='https://clinic.example/u/1'>Stop</a>"
    assert mail.custom_args == {"msg": "m1", "run": "7"}
    assert mail.headers == {
        "From": "Clinic <news@clinic.example>",
        "To": "bo@mail.example",
        "Reply-To": "care@clinic.example",
        "Subject": "Hello Ana 1",
        "Date": "Thu, 01 Jan 1970 00:00:00 +0000",
        "Message-ID": "<abc@sandbox.invalid>",
        "List-Unsubscribe": "<https://clinic.example/u/1>",
        "X-Run": "7",
    }
    assert [one["to"] for one in mail.source["personalizations"]] == [[{"email": "bo@mail.example"}]]


def test_values_are_put_in_as_they_are_and_only_once() -> None:
    replace = replacer({"-a-": "-b-", "-b-": "<b>", "-a-long-": "long", "": "never"})
    assert replace("-a- -b- -a-long- -c-") == "-b- <b> long -c-"


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text()))
def test_text_without_a_tag_is_unchanged(text: str, tags: dict[str, str]) -> None:
    if not any(tag in text for tag in tags):
        assert replacer(tags)(text) == text


def test_links_are_found_once_each_with_their_words() -> None:
    link = '<a href="https://a.example/?x=1&amp;y=2">'
    html = f'{link}One <b>two</b></a> {link}no</a> <a name="x">'
    assert links(html, None) == [("https://a.example/?x=1&y=2", "One two")]
    assert links(None, "See https://a.example/b and <https://c.example>") == [
        ("https://a.example/b", "https://a.example/b"),
        ("https://c.example", "https://c.example"),
    ]
