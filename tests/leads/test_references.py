from crm.leads import references
from crm.leads.rules import ALPHABET, CONTACT_REQUEST, REFERRAL


def test_references():
    made = {references.new_reference(REFERRAL) for _ in range(200)}
    assert len(made) == 200
    assert all(len(one) == 8 and one.startswith("R-") and set(one[2:]) <= set(ALPHABET) for one in made)
    assert not set(ALPHABET) & set("0O1ILU")
    assert references.new_reference(CONTACT_REQUEST).startswith("C-")
