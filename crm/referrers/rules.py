"""NPI format check."""

_PREFIX_SUM = 24  # what the card-issuer prefix 80840 adds to the Luhn sum


def is_npi_format(text: str) -> bool:
    """Tell whether `text` is formed like an NPI. A format check: it does not prove that the number was issued.

    Ten digits, the first 1 or 2, and a Luhn check digit over the number with 80840 before it
    (45 CFR 162.406; CMS, "NPI: Requirements for the check digit").

    >>> is_npi_format("1234567893"), is_npi_format("1234567890")
    (True, False)
    """
    if len(text) != 10 or not (text.isascii() and text.isdigit()) or text[0] not in "12":
        return False
    digits = [int(digit) for digit in text]
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return (_PREFIX_SUM + sum(doubled) + sum(digits[-1::-2])) % 10 == 0
