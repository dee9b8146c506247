"""Consent texts that evidence refers to never change."""

import pytest

from crm.consent import consent_texts

PINNED = {
    ("contact-form/1", "en"): "31c54c1572339ccd",
    ("contact-form/1", "es"): "fdf6c09e3d6ce584",
    ("referral-attestation/1", "en"): "a6bac4ecf2261018",
    ("referral-attestation/1", "es"): "5243db441dabf596",
    ("invitation/1", "en"): "fcbdb6aad73cc62e",
    ("invitation/1", "es"): "0807b3386fe820fe",
    ("preferences/1", "en"): "253c8c592a99ddfc",
    ("preferences/1", "es"): "4e6b4bf615347c01",
    ("spoken-agreement/1", "en"): "da9158e518516cb9",
    ("spoken-agreement/1", "es"): "e568644511220664",
    ("referral-informed/1", "en"): "372f8ba96905001e",
    ("referral-informed/1", "es"): "e15c921102820955",
}


@pytest.mark.parametrize(
    "wording", consent_texts.ALL, ids=lambda wording: f"{wording.name}-{wording.language}"
)
def test_never_edited(wording):
    """Changed a text? Leave it as it was and add a version with the next number, and pin that one here."""
    assert wording.hash.hex()[:16] == PINNED[wording.name, wording.language]


def test_every_version_in_both_languages():
    assert len(consent_texts.ALL) == len({(wording.name, wording.language) for wording in consent_texts.ALL})
    english = {wording.name for wording in consent_texts.ALL if wording.language == "en"}
    assert english == {wording.name for wording in consent_texts.ALL if wording.language == "es"}


@pytest.mark.parametrize(
    "key", ["contact-form", "referral-attestation", "invitation", "preferences", "spoken-agreement"]
)
def test_newest_version_is_current(key):
    wording = consent_texts.current(key, "es")
    assert wording.version == max(other.version for other in consent_texts.ALL if other.key == key)
    assert wording.language == "es"


def test_other_language_gets_english():
    assert consent_texts.current("preferences", "fr").language == "en"


def test_unknown_wordings():
    with pytest.raises(KeyError):
        consent_texts.current("nonsense", "en")
    with pytest.raises(KeyError):
        consent_texts.find("contact-form/0", "en")
