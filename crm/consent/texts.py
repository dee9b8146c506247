"""Texts of the email link pages, in English and Spanish."""

from collections.abc import Mapping

TOPICS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "prospect_edu": "Educational emails you asked for",
        "referred_edu": "Educational emails after a referral",
        "provider_nurture": "Updates for referring clinicians",
    },
    "es": {
        "prospect_edu": "Correos educativos que usted pidió",
        "referred_edu": "Correos educativos después de una referencia médica",
        "provider_nurture": "Novedades para profesionales que refieren pacientes",
    },
}

_EN = {
    "call": "You can also call us at {phone}.",
    "contact_us": "Write to us",
    "confirm_title": "Do you want these emails?",
    "confirm_lead": "You decide. Nothing is sent unless you say yes here.",
    "confirm_wording": "If you press the button, you say:",
    "confirm_button": "Yes, send me these emails",
    "confirm_else": "If you do not want them, close this page. We will not ask again because of this email.",
    "confirmed_title": "You’re signed up",
    "confirmed_text": "Your emails will start soon. Each one has a link to stop, pause or change them.",
    "confirmed_silent_title": "Thank you. Your choice is recorded.",
    "confirmed_silent_text": "At the moment we cannot send email to this address. Please call us, or write to us and "
    "give us another address.",
    "answered_title": "You have answered this already",
    "answered_text": "There is nothing more to do. To stop or change our emails, use the link at the end of any of them.",
    "expired_title": "This link is too old",
    "expired_text": "For your safety it worked for three days only, so nothing was signed up. If you would still like our "
    "emails, ask for a new link with our contact form.",
    "void_title": "This link no longer works",
    "void_text": "We no longer write to the address that this link was sent to, so nothing was signed up.",
    "unknown_title": "This link doesn’t work",
    "unknown_text": "A part of it may be missing. Please open it again from the newest email you have from us, or copy "
    "the whole link. Nothing was changed.",
    "stop_title": "Stop our emails?",
    "stop_lead": "One click is enough, and it works at once.",
    "stop_all": "Stop all emails",
    "stop_prospect_edu": "Stop educational emails only",
    "stop_referred_edu": "Stop educational emails only",
    "stop_provider_nurture": "Stop updates for referring clinicians only",
    "stop_or": "You can also choose which emails you get, or pause them.",
    "preferences_link": "Choose my emails",
    "stopped_title": "You will get no more of these emails",
    "stopped_text": "We took you off all our educational emails and updates, from now on. We may still answer something "
    "you ask us yourself.",
    "topic_stopped_title": "You will not get these emails any more",
    "topic_stopped_text": "We took you off: {topic}. Other emails you said yes to go on.",
    "undo_lead": "Was that a mistake?",
    "undo": "Undo",
    "undone_title": "Undone. Everything is as it was",
    "undone_text": "You get the same emails as before.",
    "too_late_title": "It is too late to undo this here",
    "too_late_text": "An undo works for one hour. To get our emails again, please use our contact form.",
    "gone_title": "Nothing more will be sent",
    "gone_text": "We do not keep a record for this link any more. You do not need to do anything.",
    "preferences_title": "Your emails",
    "preferences_lead": "Change what you like, then save. No sign-in is needed.",
    "topics_label": "Which emails would you like?",
    "snooze_label": "Pause until",
    "snooze_hint": "We send nothing before this day. Leave it empty for no pause.",
    "snooze_error": "Choose a day between {first} and {last}, or leave it empty.",
    "language_label": "Language of our emails",
    "language_error": "Choose English or Spanish.",
    "save": "Save",
    "saved_title": "Saved",
    "saved_text": "Your choices hold from now on.",
    "asked_text": "One more step: this address had been stopped, so we first ask for your yes by email. Please open the "
    "email we send you today and press the button in it. Until then you will not get: {topics}.",
    "stop_label": "Or stop everything",
    "stop_hint": "No more educational emails and updates from us, at once.",
    "errors_title": "One thing needs another look",
    "old_title": "This page is closed",
    "old_text": "For your safety this link worked for 60 days. Please use the link in the newest email you have from us. "
    "Stopping all emails always works, here too.",
}

_ES = {
    "call": "También puede llamarnos al {phone}.",
    "contact_us": "Escríbanos",
    "confirm_title": "¿Quiere recibir estos correos?",
    "confirm_lead": "Usted decide. No enviamos nada si no dice que sí aquí.",
    "confirm_wording": "Al presionar el botón, usted dice:",
    "confirm_button": "Sí, quiero recibir estos correos",
    "confirm_else": "Si no los quiere, cierre esta página. No volveremos a preguntarle por este correo.",
    "confirmed_title": "Su suscripción está confirmada",
    "confirmed_text": "Sus correos empezarán pronto. Cada uno tiene un enlace para cancelarlos, pausarlos o cambiarlos.",
    "confirmed_silent_title": "Gracias. Registramos su respuesta.",
    "confirmed_silent_text": "Por ahora no podemos enviar correos a esta dirección. Llámenos, o escríbanos y denos otra "
    "dirección.",
    "answered_title": "Usted ya respondió",
    "answered_text": "No tiene que hacer nada más. Para cancelar o cambiar nuestros correos, use el enlace que está al "
    "final de cualquiera de ellos.",
    "expired_title": "Este enlace ya venció",
    "expired_text": "Por su seguridad funcionó solo tres días, así que no quedó inscrito nada. Si todavía quiere "
    "nuestros correos, pida un enlace nuevo con nuestro formulario de contacto.",
    "void_title": "Este enlace ya no funciona",
    "void_text": "Ya no escribimos a la dirección que recibió este enlace, así que no quedó inscrito nada.",
    "unknown_title": "Este enlace no funciona",
    "unknown_text": "Puede que le falte una parte. Ábralo otra vez desde el correo más reciente que tenga de nosotros o "
    "copie el enlace completo. No se cambió nada.",
    "stop_title": "¿Cancelar nuestros correos?",
    "stop_lead": "Basta con un clic y funciona de inmediato.",
    "stop_all": "Cancelar todos los correos",
    "stop_prospect_edu": "Cancelar solo los correos educativos",
    "stop_referred_edu": "Cancelar solo los correos educativos",
    "stop_provider_nurture": "Cancelar solo las novedades para profesionales",
    "stop_or": "También puede elegir qué correos recibe, o pausarlos.",
    "preferences_link": "Elegir mis correos",
    "stopped_title": "No recibirá más estos correos",
    "stopped_text": "Desde ahora no le enviaremos correos educativos ni novedades. Todavía podemos responder a algo que "
    "usted mismo nos pregunte.",
    "topic_stopped_title": "Ya no recibirá estos correos",
    "topic_stopped_text": "Cancelamos: {topic}. Los demás correos que aceptó continúan.",
    "undo_lead": "¿Fue un error?",
    "undo": "Deshacer",
    "undone_title": "Listo. Todo está como antes",
    "undone_text": "Recibirá los mismos correos que antes.",
    "too_late_title": "Ya no se puede deshacer aquí",
    "too_late_text": "Se puede deshacer durante una hora. Para volver a recibir nuestros correos, use nuestro "
    "formulario de contacto.",
    "gone_title": "No se enviará nada más",
    "gone_text": "Ya no guardamos ningún registro para este enlace. No tiene que hacer nada.",
    "preferences_title": "Sus correos",
    "preferences_lead": "Cambie lo que quiera y luego guarde. No hace falta iniciar sesión.",
    "topics_label": "¿Qué correos desea recibir?",
    "snooze_label": "Pausar hasta",
    "snooze_hint": "No enviamos nada antes de ese día. Déjelo vacío si no quiere una pausa.",
    "snooze_error": "Elija un día entre el {first} y el {last}, o déjelo vacío.",
    "language_label": "Idioma de nuestros correos",
    "language_error": "Elija inglés o español.",
    "save": "Guardar",
    "saved_title": "Guardado",
    "saved_text": "Sus preferencias valen desde ahora.",
    "asked_text": "Falta un paso: esta dirección estaba cancelada, así que primero le pedimos su sí por correo. Abra el "
    "correo que le enviamos hoy y presione el botón. Hasta entonces no recibirá: {topics}.",
    "stop_label": "O cancele todo",
    "stop_hint": "Sin más correos educativos ni novedades, de inmediato.",
    "errors_title": "Hay algo que revisar",
    "old_title": "Esta página está cerrada",
    "old_text": "Por su seguridad, este enlace funcionó durante 60 días. Use el enlace del correo más reciente que tenga "
    "de nosotros. Cancelar todos los correos siempre funciona, también aquí.",
}

PAGES: Mapping[str, Mapping[str, str]] = {"en": _EN, "es": _ES}
