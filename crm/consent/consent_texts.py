"""Versioned consent texts.

A version never changes once a person has seen it: evidence refers to it by name and by hash. To change a wording, add a
version; the highest number is in use.
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Wording:
    """One consent text in one language. `hash` is SHA-256 over the UTF-8 text (32 bytes).

    `covers_collecting` and `covers_sharing` name which of the two separate consents of Washington's My Health My
    Data Act (RCW 19.373.030) the text requests. None requests sharing, because nothing is shared.
    """

    key: str
    version: int
    language: str
    text: str
    covers_collecting: bool = True
    covers_sharing: bool = False

    @property
    def name(self) -> str:
        """Return the name that evidence uses, such as "contact-form/1"."""
        return f"{self.key}/{self.version}"

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


def current(key: str, language: str) -> Wording:
    """Return the wording in use, in English if `language` has none. Raises KeyError for an unknown key."""
    return find(f"{key}/{_NEWEST[key]}", language)


def find(name: str, language: str) -> Wording:
    """Return the wording called `name`, of any version. Raises KeyError for an unknown name."""
    return _BY_NAME.get((name, language)) or _BY_NAME[name, "en"]


ALL: tuple[Wording, ...] = (
    Wording(
        key="contact-form",
        version=1,
        language="en",
        text=(
            "Yes, please email me educational information about pain care and ketamine therapy: about six emails "
            "over three weeks, then now and then. For this you keep my name, my email address and my language, and the "
            "company that delivers your email handles my address and first name for you. This is my choice. It "
            "changes nothing about my care, and I can stop at any time with one click."
        ),
    ),
    Wording(
        key="contact-form",
        version=1,
        language="es",
        text=(
            "Sí, envíenme por correo electrónico información educativa sobre el cuidado del dolor y la terapia con "
            "ketamina: unos seis correos en tres semanas y, después, de vez en cuando. Para ello ustedes guardan mi "
            "nombre, mi correo electrónico y mi idioma, y la empresa que entrega sus correos usa mi dirección y mi "
            "primer nombre por encargo suyo. Lo decido yo. No cambia nada en mi atención, y puedo cancelar en "
            "cualquier momento con un clic."
        ),
    ),
    Wording(
        key="referral-attestation",
        version=1,
        language="en",
        text=(
            "The patient has told our office that they agree to one email from you that asks whether they would like "
            "educational information. I understand that nothing more is sent unless the patient says yes."
        ),
    ),
    Wording(
        key="referral-attestation",
        version=1,
        language="es",
        text=(
            "El paciente ha dicho en nuestro consultorio que acepta recibir de ustedes un correo en el que se le "
            "pregunta si desea información educativa. Entiendo que no se enviará nada más si el paciente no dice "
            "que sí."
        ),
    ),
    Wording(
        key="spoken-agreement",
        version=1,
        language="en",
        text=(
            "The person told us that they agree to one email from us that asks whether they would like educational "
            "information. Nothing more is sent unless they say yes."
        ),
    ),
    Wording(
        key="spoken-agreement",
        version=1,
        language="es",
        text=(
            "La persona nos dijo que acepta recibir de nosotros un correo en el que se le pregunta si desea información "
            "educativa. No se enviará nada más si no dice que sí."
        ),
    ),
    Wording(
        key="referral-informed",
        version=1,
        language="en",
        text=(
            "The patient knows that we are referring them to you, knows what we are sending you, and expects your "
            "call."
        ),
    ),
    Wording(
        key="referral-informed",
        version=1,
        language="es",
        text=(
            "El paciente sabe que lo referimos a ustedes, sabe qué información les enviamos y espera su llamada."
        ),
    ),
    Wording(
        key="invitation",
        version=1,
        language="en",
        text=(
            "Yes, please send me educational emails from the clinic: about six emails over three weeks. For this you "
            "keep my name, my email address and my language. This is my choice. It changes nothing about my care, "
            "and I can stop at any time with one click."
        ),
    ),
    Wording(
        key="invitation",
        version=1,
        language="es",
        text=(
            "Sí, envíenme correos educativos de la clínica: unos seis correos en tres semanas. Para ello ustedes "
            "guardan mi nombre, mi correo electrónico y mi idioma. Lo decido yo. No cambia nada en mi atención, y "
            "puedo cancelar en cualquier momento con un clic."
        ),
    ),
    Wording(
        key="preferences",
        version=1,
        language="en",
        text=(
            "Send me the emails I have ticked below. This is my choice, it changes nothing about my care, and I can "
            "stop at any time with one click."
        ),
    ),
    Wording(
        key="preferences",
        version=1,
        language="es",
        text=(
            "Envíenme los correos que he marcado abajo. Lo decido yo, no cambia nada en mi atención, y puedo "
            "cancelar en cualquier momento con un clic."
        ),
    ),
)

_NEWEST = {wording.key: wording.version for wording in sorted(ALL, key=lambda wording: wording.version)}
_BY_NAME = {(wording.name, wording.language): wording for wording in ALL}
