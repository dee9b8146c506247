"""What the public contact form says, in both languages of the people who read it."""

from collections.abc import Mapping

_EN = {
    "title": "Contact us",
    "lead": "Tell us how to reach you. Somebody from our clinic will call or write back, usually within one business day.",
    "or_call": "You can also call us:",
    "emergency": "Not for emergencies. If you are in danger, call 911. If you think about suicide, call or text 988.",
    "summary": "Please check these fields",
    "about_you": "About you",
    "first_name": "First name",
    "names_hint": "One name is enough, first or last.",
    "last_name": "Last name",
    "email": "Email address",
    "email_hint": "An email address or a phone number is enough.",
    "phone": "Phone number",
    "phone_hint": "With area code. We use it only to answer you.",
    "language": "Which language should we use with you?",
    "state": "State where you live",
    "state_hint": "It tells us your time zone, so that we do not call too early or too late.",
    "choose": "Choose",
    "your_request": "Your request",
    "heard_from": "How did you hear about us?",
    "message": "Message",
    "message_hint": "Up to 1,000 characters. Please do not write about your health here: no conditions, medicines or "
    "treatments. We will ask about that in person.",
    "by_email": "Information by email",
    "educational_hint": "We first send one email that asks whether this was really you.",
    "send": "Send",
    "sent_title": "Thank you. We have your request",
    "sent_text": "Somebody from our clinic will call or write back, usually within one business day.",
    "sent_email": "If you ticked the box for emails, look for one that asks you to confirm. It can take a few minutes; look "
    "in the spam folder too. Nothing else is sent until you confirm.",
    "sent_call": "In a hurry? Call us:",
    "crisis_title": "You can talk to somebody right now",
    "crisis_988": "If you think about suicide or about hurting yourself, call or text 988. It is free, and somebody is there day "
    "and night.",
    "crisis_911": "If you or somebody else is in danger, call 911.",
    "crisis_us": "Our office does not read messages around the clock, so please do not wait for us.",
    "crisis_call": "Call 988",
    "wrong_required_first_name": "Enter your first name.",
    "wrong_required_last_name": "Enter your last name.",
    "wrong_required_email": "Enter your email address or a phone number.",
    "wrong_ticked_email": "Enter the email address to which we should write, or take the tick off the emails.",
    "wrong_email_filler_email": "This address reaches nobody. Enter one at which we can write to you, or leave it empty "
    "and enter a phone number.",
    "csrf": "This page was open for too long, or your browser blocks cookies. Nothing is lost: press “Send” once more.",
    "too_fast": "That was very quick. Please look over what you entered, then press “Send” once more.",
    "proof": "The check against robots did not finish. Press “Send” once more; "
    "it needs JavaScript, so if that is off, please call us at {phone}.",
    "too_many": "Too many requests came from your connection just now. Please wait a few minutes and press “Send” again, "
    "or call us at {phone}.",
    "too_long": "This is more than the form can take. Please shorten your message.",
}

_ES = {
    "title": "Contáctenos",
    "lead": "Díganos cómo comunicarnos con usted. Alguien de nuestra clínica le llamará o le escribirá, por lo general en "
    "un día hábil.",
    "or_call": "También puede llamarnos:",
    "emergency": "No es para emergencias. Si está en peligro, llame al 911. Si piensa en el suicidio, llame o envíe un "
    "mensaje de texto al 988 (oprima 2 para español).",
    "summary": "Revise estos campos, por favor",
    "about_you": "Sobre usted",
    "first_name": "Nombre",
    "names_hint": "Basta con un nombre: el suyo o sus apellidos.",
    "last_name": "Apellidos",
    "email": "Correo electrónico",
    "email_hint": "Basta con un correo electrónico o un número de teléfono.",
    "phone": "Teléfono",
    "phone_hint": "Con código de área. Solo lo usamos para responderle.",
    "language": "¿En qué idioma prefiere que nos comuniquemos con usted?",
    "state": "Estado donde vive",
    "state_hint": "Nos indica su zona horaria, para no llamarle demasiado temprano ni demasiado tarde.",
    "choose": "Elija",
    "your_request": "Su solicitud",
    "heard_from": "¿Cómo supo de nosotros?",
    "message": "Mensaje",
    "message_hint": "Hasta 1,000 caracteres. Por favor, no escriba aquí sobre su salud: ni enfermedades, ni medicinas, ni "
    "tratamientos. De eso hablaremos en persona.",
    "by_email": "Información por correo electrónico",
    "educational_hint": "Primero le enviamos un solo correo para preguntarle si de verdad fue usted.",
    "send": "Enviar",
    "sent_title": "Gracias. Recibimos su solicitud",
    "sent_text": "Alguien de nuestra clínica le llamará o le escribirá, por lo general en un día hábil.",
    "sent_email": "Si marcó la casilla de los correos, busque uno que le pide confirmar. Puede tardar unos minutos; mire "
    "también en la carpeta de correo no deseado. No enviamos nada más hasta que usted confirme.",
    "sent_call": "¿Tiene prisa? Llámenos:",
    "crisis_title": "Puede hablar con alguien ahora mismo",
    "crisis_988": "Si piensa en el suicidio o en hacerse daño, llame al 988 y oprima 2 para español, o envíe AYUDA en un mensaje "
    "de texto al 988. Es gratis y hay alguien de día y de noche.",
    "crisis_911": "Si usted u otra persona está en peligro, llame al 911.",
    "crisis_us": "Nuestra oficina no lee los mensajes a toda hora; por favor, no espere a que le respondamos.",
    "crisis_call": "Llamar al 988",
    "wrong_required_first_name": "Escriba su nombre.",
    "wrong_required_last_name": "Escriba sus apellidos.",
    "wrong_required_email": "Escriba su correo electrónico o un número de teléfono.",
    "wrong_ticked_email": "Escriba el correo electrónico al que debemos escribirle, o quite la marca de los correos.",
    "wrong_email_filler_email": "A esta dirección no llega nada. Escriba una en la que podamos escribirle, o deje el campo "
    "vacío y escriba un número de teléfono.",
    "csrf": "Esta página estuvo abierta demasiado tiempo, o su navegador bloquea las cookies. No se perdió nada: oprima "
    "“Enviar” otra vez.",
    "too_fast": "Eso fue muy rápido. Revise lo que escribió y oprima “Enviar” otra vez.",
    "proof": "La comprobación contra robots no terminó. Oprima “Enviar” otra vez; "
    "necesita JavaScript: si está desactivado, llámenos al {phone}.",
    "too_many": "Llegaron demasiadas solicitudes desde su conexión. Espere unos minutos y oprima “Enviar” otra vez, o "
    "llámenos al {phone}.",
    "too_long": "Esto es más de lo que cabe en el formulario. Acorte su mensaje, por favor.",
}

WORDS: Mapping[str, Mapping[str, str]] = {"en": _EN, "es": _ES}

HEARD_FROM: Mapping[str, Mapping[str, str]] = {
    "en": {
        "search": "Internet search",
        "doctor": "My doctor or another clinician",
        "friend": "A friend or family member",
        "social": "Social media",
        "insurance": "My insurance",
        "event": "A talk or event",
        "other": "Something else",
    },
    "es": {
        "search": "Búsqueda en internet",
        "doctor": "Mi médico u otro profesional de la salud",
        "friend": "Un familiar o una amistad",
        "social": "Redes sociales",
        "insurance": "Mi seguro médico",
        "event": "Una charla o un evento",
        "other": "Otro",
    },
}

LANGUAGE_NAMES = (("en", "English"), ("es", "Español"))
