"""What emails tell the owner of a staff account, in English and Spanish. No names, no addresses, nothing about patients."""

from collections.abc import Mapping

NOTICES: Mapping[str, tuple[str, str]] = {
    "wrong_codes": (
        "Someone typed your password correctly and then five wrong codes",
        "Alguien escribió bien su contraseña y después cinco códigos incorrectos",
    ),
    "wrong_tries": (
        "Someone tried many times to sign in to your account, without success",
        "Alguien intentó muchas veces entrar en su cuenta, sin lograrlo",
    ),
    "password": ("Your password was changed", "Se cambió su contraseña"),
    "two_step_on": (
        "An authenticator app was set up for your account",
        "Se configuró una aplicación de autenticación para su cuenta",
    ),
    "two_step_off": (
        "The authenticator app was removed from your account",
        "Se quitó la aplicación de autenticación de su cuenta",
    ),
    "recovery_made": (
        "New recovery codes were made for your account",
        "Se crearon códigos de recuperación nuevos para su cuenta",
    ),
    "recovery_used": (
        "A recovery code was used to sign in to your account",
        "Se usó un código de recuperación para entrar en su cuenta",
    ),
    "passkey_added": ("A passkey was added to your account", "Se agregó una llave de acceso a su cuenta"),
    "passkey_removed": (
        "A passkey was removed from your account",
        "Se quitó una llave de acceso de su cuenta",
    ),
    "roles": ("The roles of your account were changed", "Se cambiaron los roles de su cuenta"),
    "closed": ("Your account was closed", "Se cerró su cuenta"),
    "reopened": ("Your account was reopened", "Se reabrió su cuenta"),
    "sso_linked": (
        "Your account was connected to single sign-on",
        "Su cuenta se conectó al inicio de sesión único",
    ),
    "export": (
        "Data was exported with your account",
        "Se exportaron datos con su cuenta",
    ),
    "erasure": (
        "A person was erased with your account",
        "Se borró a una persona con su cuenta",
    ),
    "keys": (
        "Keys of other systems were changed with your account",
        "Se cambiaron claves de otros sistemas con su cuenta",
    ),
    "emergency": (
        "A record was opened as an emergency with your account",
        "Se abrió un expediente como emergencia con su cuenta",
    ),
}


def notice(what: str, *, language: str) -> str:
    """Return the sentence of a notice, without its period."""
    english, spanish = NOTICES[what]
    return spanish if language == "es" else english
