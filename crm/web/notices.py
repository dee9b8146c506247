"""Legal notices that every page outside the console links to, each in English and Spanish.

Consumer health data policy: RCW 19.373.020. Notice of privacy practices: 45 CFR 164.520. Nondiscrimination:
45 CFR 92.10. Free language help: 45 CFR 92.11.
"""

from flask import render_template
from flask.typing import ResponseReturnValue
from flask_babel import get_locale

from crm.core.blueprints import PublicPages

pages = PublicPages("notices", __name__)

HELP = (  # code, name of the language in itself, direction, the offer: the languages most spoken in California
    ("es", "Español", "ltr", "Le ofrecemos ayuda gratuita en español. Llame al {phone}."),
    ("zh", "中文", "ltr", "我们免费提供中文语言协助。请致电 {phone}。"),
    (
        "vi",
        "Tiếng Việt",
        "ltr",
        "Chúng tôi có dịch vụ hỗ trợ ngôn ngữ miễn phí bằng tiếng Việt. Xin gọi {phone}.",
    ),
    ("tl", "Tagalog", "ltr", "May libreng tulong sa wikang Tagalog. Tumawag sa {phone}."),
    ("ko", "한국어", "ltr", "한국어 지원 서비스를 무료로 제공합니다. {phone}번으로 전화하십시오."),
    ("hy", "Հայերեն", "ltr", "Հայերեն լեզվով անվճար օգնություն կա։ Զանգահարեք {phone}։"),
    ("fa", "فارسی", "rtl", "کمک رایگان به زبان فارسی در دسترس شماست. با شمارهٔ {phone} تماس بگیرید."),
    (
        "ru",
        "Русский",
        "ltr",
        "Мы предлагаем бесплатную помощь на русском языке. Позвоните по номеру {phone}.",
    ),
    ("ja", "日本語", "ltr", "日本語の言語支援を無料でご利用いただけます。{phone} までお電話ください。"),
    ("ar", "العربية", "rtl", "تتوفر لكم مساعدة لغوية مجانية باللغة العربية. اتصلوا على الرقم {phone}."),
    ("pa", "ਪੰਜਾਬੀ", "ltr", "ਪੰਜਾਬੀ ਵਿੱਚ ਭਾਸ਼ਾ ਸਹਾਇਤਾ ਮੁਫ਼ਤ ਉਪਲਬਧ ਹੈ। {phone} 'ਤੇ ਫ਼ੋਨ ਕਰੋ।"),
    ("km", "ខ្មែរ", "ltr", "មានជំនួយភាសាខ្មែរដោយឥតគិតថ្លៃ។ សូមទូរស័ព្ទទៅ {phone}។"),
    ("hmn", "Hmoob", "ltr", "Muaj kev pab txhais lus Hmoob pub dawb rau koj. Hu rau {phone}."),
    ("hi", "हिन्दी", "ltr", "हिंदी में भाषा सहायता निःशुल्क उपलब्ध है। {phone} पर कॉल करें।"),
    ("th", "ไทย", "ltr", "มีบริการช่วยเหลือด้านภาษาไทยฟรี โทร {phone}"),
)


def _shown(name: str, **more: object) -> ResponseReturnValue:
    language = "es" if str(get_locale()) == "es" else "en"
    return render_template(f"public/notices/{name}.{language}.html", **more)


@pages.get("/health-data-privacy")
def health_data() -> ResponseReturnValue:
    """How health data of people who are not (yet) patients is used."""
    return _shown("health-data")


@pages.get("/privacy-practices")
def practices() -> ResponseReturnValue:
    """How medical information of patients is used."""
    return _shown("practices")


@pages.get("/nondiscrimination")
def nondiscrimination() -> ResponseReturnValue:
    """Nondiscrimination, and how to file a complaint."""
    return _shown("nondiscrimination")


@pages.get("/language-help")
def language_help() -> ResponseReturnValue:
    """Free help in other languages, offered in each of them."""
    return _shown("language-help", offers=HELP)
