"""Names that people give the columns of a file about people, in English and Spanish. Pure.

Folded and without spaces, as `csv_files.guess_columns` wants them. A name with "patient" before it is understood, too.
"""

from collections.abc import Mapping

OF_A_PERSON: Mapping[str, str] = {
    "first_name": "first given forename givenname firstnames nombre nombres primernombre",
    "last_name": "last surname family familyname lastnames apellido apellidos",
    "email": "mail emailaddress correo correoelectronico",
    "phone": "telephone mobile cell cellphone mobilephone phonenumber telephonenumber telefono celular movil",
    "birth_date": "dob birthday dateofbirth birthdate fechadenacimiento nacimiento",
    "language": "lang preferredlanguage idioma lengua",
    "state": "st estado stateofresidence",
}
"""Field -> other names, separated by a space."""
