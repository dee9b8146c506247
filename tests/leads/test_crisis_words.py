"""Crisis words: what must raise an alert, and what people in pain say every day."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.core.text import fold
from crm.leads.crisis_words import KINDS, mentions_crisis

CRISIS = """
I want to kill myself
I've been thinking about suicide
suicidal ideation, wants to die
Patient endorses SI with a plan. Active SI.
no point in living
There is no point in living like this
took a whole bottle of pills
I took all my pills last night
I swallowed a handful of tablets
me quiero matar
Ya no quiero vivir
I want to not wake up
I just hope I don't wake up tomorrow
I wish I could go to sleep and never wake up
I don't want to be here anymore
I dont want to live
I can’t go on like this
I can't take it anymore
life isn't worth living
nothing left to live for
everyone would be better off without me
my family would be better off if I were gone
I'd rather be dead than live with this pain
I am going to end my life
I think about ending it all
thinking about ending it all
he wants to end his life
my husband says he wants to kill himself
My daughter has been cutting herself
I keep having thoughts of hurting myself
I might hurt myself
self-harm urges every night
I have a gun to my head
I want to jump off a bridge
I want to hang myself
I am afraid I'll overdose
wrote a goodbye letter to my kids
I'm tired of living
I have given up on life
I'm not suicidal, but I want to die
It is not just suicidal thoughts
I wouldn’t mind dying
i dont care if i live or die
wish I was dead
I wish I were never born
nobody would miss me
kms? no. I want to die
No sleep. I want to end it all
quiero morirme
Quisiera no despertar nunca
no quiero seguir viviendo
no tengo ganas de vivir
pienso en quitarme la vida
mi esposo se quiere matar
tengo ideas suicidas
ideación suicida activa
me tomé todas las pastillas
tomé un frasco entero de pastillas
estarían mejor sin mí
la vida no tiene sentido
no vale la pena vivir
voy a cortarme las venas
quiero hacerme daño
mejor estar muerta
Ya no puedo más
me voy a ahorcar, quiero ahorcarme
sin razón para vivir
""".strip().splitlines()

DAILY = """
I am not suicidal
I'm not suicidal at all, just tired of the headaches
the pain is killing me
my back pain is killing me
killer headache
I have a killer migraine every week
This is to die for
I hurt myself lifting a box at work
I hurt myself when I fell last winter
I cut myself cooking and the scar still hurts
I do not want to die of cancer like my mother
I don't want to hurt myself again at the gym
denies suicidal ideation
Patient denies any suicidal or homicidal ideation
No SI/HI. Denies suicidal ideation, intent or plan
no history of suicide attempts
No history of overdose
negative for suicidal thoughts
I have never been suicidal
without suicidal ideation
I am dying to know whether this works
my phone died
I could kill for a good night's sleep
my mother died of cancer
dead tired
the medication made me want to sleep all day
I want to end the pain
end my subscription
I can't go on long walks with my dog
I can't go on vacation because of my knee
I don't want to wake up early for the appointment
I don't want to wake up stiff every morning
I took two pills this morning
I take all vitamins my doctor suggests
I want to live without pain
I want to be alive for my grandchildren
I have been killing myself working two jobs
I'm working at a suicide prevention charity
deadline for the paperwork
my doctor wants to cut my dose
Can I take my medication the same day?
este dolor me está matando
el dolor me mata
me muero de hambre
me quiero morir de risa
no soy suicida
no tengo pensamientos suicidas
niega ideación suicida
sin ideación suicida
nunca he tenido ideas suicidas
tengo miedo de lastimarme otra vez
me lastimé la espalda en el trabajo
quiero cortarme el pelo antes de la cita
quiero terminar con el dolor
no puedo más que caminar una cuadra
quiero vivir sin dolor
mi madre murió de cáncer
sí, me interesa; ¿cuánto cuesta?
""".strip().splitlines()


@pytest.mark.parametrize("text", CRISIS)
def test_crisis(text):
    assert mentions_crisis(text)
    assert mentions_crisis(f"Hello, I have had CRPS since 2019.\n{text.upper()}\nThank you.")


@pytest.mark.parametrize("text", DAILY)
def test_no_crisis(text):
    assert not mentions_crisis(text)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_examples_of_each_kind(kind):
    assert [text for text in kind.right if not mentions_crisis(text)] == []
    assert [text for text in kind.wrong if mentions_crisis(text)] == []


def test_each_kind_has_its_own_examples():
    """A text that is right for a kind is found by a pattern of that kind."""
    for kind in KINDS:
        own = re.compile(rf"\b(?:{'|'.join(kind.patterns)})\b")
        assert [text for text in kind.right if not own.search(fold(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "Suicidal ideation: denied", "Suicidal ideation? No.", "C-SSRS negative, suicidal ideation: none", "SI/HI: denied",
        "Ideación suicida: no", "niega ideación suicida o autolesiones", "I'm not going to kill myself",
        "I am not thinking about suicide", "Suicidal thoughts are denied", "Self-harm: none reported",
        "no he pensado en el suicidio",
    ],
)  # fmt: skip
def test_denials(text):
    assert not mentions_crisis(text)


@pytest.mark.parametrize(
    "text",
    [
        "Suicidal ideation: yes", "Suicidal. No sleep.", "Suicidal ideation: no plan", "I want to die. No.",
        "I can't promise I'm not going to kill myself", "I'm not suicidal yet", "I cannot stop thinking about suicide",
        "My brother died by suicide in 2009. I want to die",
    ],
)  # fmt: skip
def test_no_denials(text):
    assert mentions_crisis(text)


@pytest.mark.parametrize(
    "text",
    [
        "family history of suicide", "brother died by suicide in 2009", "Narcan for overdose reversal",
        "opioid overdose prevention class",
    ],
)  # fmt: skip
def test_topics(text):
    assert not mentions_crisis(text)


@pytest.mark.parametrize("sign", ["\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"], ids=ascii)
def test_unseen_characters_hide_nothing(sign):
    assert mentions_crisis(f"I want to k{sign}ill my{sign}self")


def test_line_breaks_hide_nothing():
    assert mentions_crisis("I want\nto kill myself")


@pytest.mark.parametrize("text", ["", None, "   "])
def test_nothing_written(text):
    assert not mentions_crisis(text)


@given(st.text(max_size=300))
def test_any_text_is_judged(text):
    mentions_crisis(text)


@pytest.mark.parametrize(
    "text",
    [
        "I want to die", "I'm SUICIDAL and in pain", "thinking of killing myself", "I can’t go on like this",
        "they'd be better off without me", "I don't want to live", "I overdosed last week", "self-harm",
        "Quiero morirme", "pienso en el suicidio", "no quiero vivir así", "he pensado en hacerme daño", "No puedo más",
    ],
)  # fmt: skip
def test_crisis_phrases(text):
    assert mentions_crisis(text)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "My back hurts", "Please call me after five", "The pain is killing my back", "I cut the lawn myself",
        "Me duele la espalda", "Quiero una cita", "I would like to live without pain",
    ],
)  # fmt: skip
def test_daily_phrases(text):
    assert not mentions_crisis(text)
