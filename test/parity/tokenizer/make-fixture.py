"""Writes tokenizer.json.gz: strings of many kinds with the ids that open_clip's SimpleTokenizer gives them.

    python make-fixture.py        needs open_clip_torch, torch, regex and ftfy 6.3; the versions used are written into the fixture

Random text is drawn from the code points that this Python's Unicode tables know, since newer tables give newer code points other
classes and compositions. Everything else is spelled out here or derived from Python's own tables (HTML names).
"""
import gzip
import html.entities
import importlib.metadata
import json
import pathlib
import random
import sys
import unicodedata

from open_clip_reference import reference

HERE = pathlib.Path(__file__).parent


NOUNS = """dog cat horse airplane skateboard umbrella kitchen refrigerator pizza broccoli toothbrush zebra giraffe surfboard
motorcycle traffic-light bench laptop keyboard clock vase scissors teddy-bear hair-drier snowboard kite frisbee banana sandwich
sunflower cathedral lighthouse volcano waterfall saxophone astronaut beekeeper firefighter grandmother toddler""".split()
ADJECTIVES = """red blue striped tiny enormous wooden rusty shiny old-fashioned fluffy black-and-white handmade half-eaten sunlit
blurry crowded empty snow-covered upside-down translucent""".split()
VERBS = "standing sitting riding holding eating watching jumping sleeping running leaning flying cooking painting".split()
OWNERS = ["a", "its", "some", "someone else's"]
PLACES = """in the park|on a city street|next to a window|under a bridge|at the beach|in front of a building|on top of a hill|
behind a fence|near the harbour|inside a small bathroom""".replace("\n", "").split("|")
LABELS = """tench|goldfish|great white shark|tiger shark|hammerhead|electric ray|stingray|cock|hen|ostrich|brambling|goldfinch|
American robin|bald eagle|axolotl|tailed frog|Komodo dragon|T-Rex|diamondback|black & gold garden spider|Sulphur-crested cockatoo|
King Charles Spaniel|Shih Tzu|Staffordshire Bull Terrier|St. Bernard|Appenzeller Sennenhund|Xoloitzcuintli|CD player|can opener|
T-shirt|wok|yurt|hay|hot pot|trifle|ear of corn|707-320|A340-600|Boeing 737-800|Aston Martin V8 Vantage Coupe 2012|
Ram C/V Cargo Van Minivan 2012|Café|crème brûlée|Rödelheim|smörgåsbord""".replace("\n", "").split("|")
TEMPLATES = """a photo of a {}.|a bad photo of a {}.|a {} in a video game.|itap of a {}.|a centered satellite photo of {}.|
the origami {}.|a photo of a {}, a type of aircraft.|art of the {}!|{} (close-up)|"{}"|#{} @home|a jpeg corrupted photo of the {}.
""".replace("\n", "").split("|")

WORLD = """El niño juega con la pelota en el jardín|Ein schönes Mädchen fährt über die Brücke, Größe 38|Çok güzel bir İstanbul akşamı
À l'œuvre on connaît l'artisan — déjà-vu|Zażółć gęślą jaźń|Příliš žluťoučký kůň úpěl ďábelské ódy|Быстрая коричневая лиса прыгает
Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία ΟΔΟΣ|ΑΣ ΣΑΣ ΟΔΥΣΣΕΥΣ|犬がボールを追いかけている公園の写真|東京タワーの夜景　２０２３年|ﾊﾝｶｸｶﾀｶﾅ と ＦＵＬＬ　ＷＩＤＴＨ
一只猫坐在窗台上，看着外面的雨。|繁體中文：龍、鳳、龜|고양이가 창가에 앉아 있다|صورة لقطة تجلس على النافذة ١٢٣|کتاب فارسی با اعداد ۱۲۳
תמונה של כלב על החוף|कुत्ता पार्क में दौड़ रहा है|ภาพถ่ายของแมวบนหน้าต่าง|একটি বিড়ালের ছবি|நாயின் புகைப்படம்|ሰላም ለዓለም|გამარჯობა მსოფლიო
Việt Nam: phở bò, bánh mì, cà phê sữa đá|ʻOkina, ħ, ŋ, ɸ, ʃ, ə, θ|ﬁnally ﬂowing oﬃce ﬆ|ℌ𝔢𝔩𝔩𝔬 𝕎𝕠𝕣𝕝𝕕 𝓼𝓬𝓻𝓲𝓹𝓽|Ⅷ ⅷ ½ ² ₃ ① ⑳ ㊙ ㎏ ﷼
naïve façade, “curly” ‘quotes’ — dashes – and… ellipses|5′ 11″ · 37 °C ± 2 × 10⁻³ ≈ ∞|€ 12,50 £9.99 ¥100 ₹5 ₿|ⓐⓑⓒ ⒜ ꜱᴍᴀʟʟ ᴄᴀᴘꜱ|ǅ ǆ Ǆ ŉ ǰ ẖ ſtraße ẞ ß
Ｑｕｅｓｔｉｏｎ？　！|مرحبا world שלום 123 mixed عالم|a\u0301 e\u0308 combining vs á ë|\u212b \u2126 \u212a singletons|\u1100\u1161\u11a8 jamo""".replace("\n", "|").split("|")

EMOJI = """😀 grinning face|🐶🐱🐭 pets|👩‍👩‍👧‍👦 family|👍🏽 thumbs up medium|🏳️‍🌈 flag|🇩🇪🇫🇷 flags|❤️ vs ❤ vs ♥|☕️ coffee|1️⃣2️⃣3️⃣|🤷🏻‍♀️ shrug
™️ © ® ℠|✈️→🏖️|🧑‍🚀 in space 🚀🌑|🫠🫡|a🐶b🐱c|🎉🎉🎉!!!🎉🎉|(╯°□°)╯︵ ┻━┻|¯\\_(ツ)_/¯|ಠ_ಠ|★★★☆☆ 3/5""".replace("\n", "|").split("|")

CONTRACTIONS = """it's|IT'S|I'm they're we've he'll she'd don't|'s 't 're 've 'm 'll 'd|'''s|!'s|x'sy's|rock 'n' roll|the '90s|O'Reilly's
it’s don’t we’ll|'ſ and 'S|can'T Won'T|'reven|'lla|'mmm|'dd|d'oeuvre|l'll'l|'' ''|'s's's|a's1's|it's 5 o'clock""".replace("\n", "|").split("|")

SPECIALS = """<start_of_text>|<end_of_text>|<START_OF_TEXT>|<End_Of_Text> dog|a<start_of_text>b|!<start_of_text>|<<end_of_text>>
<start_of_text|start_of_text>|<start_of_text><end_of_text>|<|startoftext|>|<|endoftext|> cat|&lt;end_of_text&gt;|<ſtart_of_text>|< start_of_text >
<end_of_text>s|'s<end_of_text>'s|<pad>|</w>|a</w> b</w>|<unk> [CLS]""".replace("<|startoftext|>|<|endoftext|>", "<\0startoftext\0>|<\0endoftext\0>")
SPECIALS = [text.replace("\0", "|") for text in SPECIALS.replace("\n", "|").split("|")]

REFERENCES = """Tom &amp; Jerry|&amp;amp; twice|&amp;amp;amp; thrice|&lt;b&gt;bold&lt;/b&gt;|<b>&amp;</b>|&quot;quoted&quot;|caf&eacute; &Eacute;t&eacute;
&copy 2020|&copy2020|&notit; &notin; &not|&hellip;|&nbsp;space&nbsp;|&#39;s|it&#39;s|&#x27;s|&#X41;&#65|&#65;&#0;&#1;&#8;&#9;&#10;&#11;&#13;&#31;&#127;
&#128;&#129;&#130;&#141;&#150;&#153;&#159;|&#xD800;&#xDFFF;&#x110000;&#x10FFFF;&#99999999999999999999;|&#xfffe;&#xffff;&#x1fffe;&#xfdd0;&#xfdef;
&#xfeff;bom&#xfeff;|&#x1F600;|&;|&&amp;&|& amp;|&am|&amp|AT&T|R&D|Q&A &c|&unknown;|&unknownnameofanentitythatislongerthanthirtytwo;|&ampersand
&#;|&#x;|&#xg;|&#12a;|&ltdog&gt|&LT;&GT;&AMP;&QUOT;|&frac12;&frac14;|&NotEqualTilde;|&CounterClockwiseContourIntegral;|&lang;&rang;|&zwj;&zwnj;
&shy;soft|&ensp;&emsp;&thinsp;|&Tab;&NewLine;x|&fjlig;|&amp;#39;|&amp;eacute;|&AMP|&amp =|&eacute=1|?a=1&copy=2&lt=3|&#x85;a&#x1c;b&#x2028;c|&amp;lt;p&amp;gt;""".replace("\n", "|").split("|")

CONTROLS = ["", " ", "\t", "\n", "\r\n", "a\tb", "a\nb\nc", "a\r\nb\rc", "a\x00b", "\x01\x02\x03", "a\x0bb\x0cc", "a\x1cb\x1dc\x1ed\x1fe", "a\x7fb",
            "a\x85b", "a\xa0b", "\ufeffbom", "a\ufeffb", "zero\u200bwidth\u200cjoin\u200ders", "soft\xadhyphen", "a\u2028b\u2029c", "\u3000ideographic\u3000",
            "\x1b[31mred\x1b[0m", "\ud83d\ude00 surrogates", "lone \ud83d", "\udc00 lone", "\ufffd", "a\ufffd\ufffdb", "rtl \u202eevil\u202c", "\u0345", "a\u0345b",
            "!\u0345!", "\u03b1\u0345", "  many   spaces  ", "trailing \n", "\u180e", "\u1680x", "\u2000\u2001\u2002x\u2003", "a\x80\x99b", "\x93quoted\x94", "x\x96y"]

LONG = ["word " * 2000, "a" * 10000, "supercalifragilistic" * 500, "ab" * 3000, "1" * 500, "!" * 3000, "?!" * 700, "日本" * 900, "🐶" * 400, "é" * 2500,
        "the quick brown fox jumps over the lazy dog " * 40, "x" * 76, "a " * 74, "a " * 75, "a " * 76, "a " * 77, "я" * 1500, "-" * 99, "-" * 100, "-" * 101,
        "'s" * 200, "&amp;" * 300, "aA" * 260, "\n".join(["line é"] * 50)]


def captions(draw, count):
    for _ in range(count):
        noun, other = draw.sample(NOUNS, 2)
        text = f"{draw.choice(['a', 'the', 'one', 'two', '3', ''])} {draw.choice(ADJECTIVES)} {noun} {draw.choice(VERBS)} {draw.choice(PLACES)}"
        if draw.random() < 0.4:
            text += f" with {draw.choice(OWNERS)} {draw.choice(ADJECTIVES)} {other}"
        text = draw.choice([str, str, str.title, str.upper, str.capitalize])(text)
        yield text + draw.choice(["", ".", "!", " .", "...", "?", " ;)", ", 2019", " #photo"])


def mojibake(draw, count):
    """Text written in one encoding and read in another, once or twice, whole or in part."""
    texts = [text for text in WORLD + EMOJI]
    while count > 0:
        text = draw.choice(texts)
        for _ in range(draw.choice([1, 1, 1, 2])):
            wrong = draw.choice(["latin-1", "cp1252", "cp1251", "cp437", "macroman", "cp1253", "iso-8859-2"])
            broken = text.encode("utf-8").decode(wrong, errors="replace" if draw.random() < 0.3 else "ignore")
            text = broken if draw.random() < 0.8 else f"{text} {broken}"
        yield text
        count -= 1


def random_text(draw, count):
    known = [code for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
    blocks = [range(0x20, 0x7F), range(0xA0, 0x250), range(0x370, 0x530), range(0x590, 0x700), range(0x900, 0xE00), range(0x1E00, 0x2000),
              range(0x2000, 0x2C00), range(0x3000, 0x3200), range(0xFE00, 0xFFFE), range(0x1F300, 0x1F700)]
    within = [[code for code in block if unicodedata.category(chr(code)) != "Cn"] for block in blocks]
    for i in range(count):
        pool = known if i % 2 == 0 else draw.choice(within)
        yield "".join(chr(draw.choice(pool)) if draw.random() < 0.85 else draw.choice(" aeio'.,&<;1") for _ in range(draw.randint(1, 40)))


def ascii_noise(draw, count):
    for _ in range(count):
        yield "".join(chr(draw.randint(0x20, 0x7E)) for _ in range(draw.randint(1, 60)))


def main():
    draw = random.Random(20)
    texts = [*captions(draw, 700), *LABELS, *(template.format(label) for template in TEMPLATES for label in draw.sample(LABELS, 12)),
             *WORLD, *EMOJI, *CONTRACTIONS, *SPECIALS, *REFERENCES, *CONTROLS, *LONG, *mojibake(draw, 350), *random_text(draw, 600), *ascii_noise(draw, 300)]
    names = [f"&{name}" for name in sorted(html.entities.html5)]
    draw.shuffle(names)
    texts += [" ".join(names[i:i + 8]) for i in range(0, len(names), 8)]
    texts = list(dict.fromkeys(texts))

    module = reference()
    modes = {mode: module.SimpleTokenizer(clean=mode) for mode in ("lower", "whitespace", "canonicalize")}
    rows = []
    for i, text in enumerate(texts):
        ids = {mode: tokenizer.encode(text) for mode, tokenizer in modes.items() if mode == "lower" or i % 4 == 0}
        cut = modes["lower"](text)[0].tolist()
        rows.append({"text": text, **ids, "cut": [token for token in cut if token != 0 or 0 in ids["lower"]] if len(ids["lower"]) > 75 else None,
                     "decoded": modes["lower"].decode(ids["lower"]) if i % 4 == 0 else None})
    rows = [{key: value for key, value in row.items() if value is not None} for row in rows]
    made_with = {"python": sys.version.split()[0], "unicode": unicodedata.unidata_version,
                 **{name: importlib.metadata.version(name) for name in ("open_clip_torch", "ftfy", "regex")}}
    content = json.dumps({"madeWith": made_with, "rows": rows}, separators=(",", ":"))
    (HERE / "tokenizer.json.gz").write_bytes(gzip.compress(content.encode("ascii"), 9, mtime=0))
    print(len(rows), "strings,", (HERE / "tokenizer.json.gz").stat().st_size, "bytes", made_with)


main()
