#!/usr/bin/env python3
"""Writes lines.jsonl: 2,000 varied texts, one JSON string a line, for the tokenizer's comparison.

    python3 make_lines.py

The same script gives the same file on every machine (its own generator of random numbers, no clock).
"""

import json
import os

COUNT = 2000

# Words of everyday life, by language.
WORDS = {
    "english": "the old castle stands above village nobody remembers who built it moon rises wolves answer she doesn't believe in ghosts they've waited we'll see I'm afraid that's not enough it'd rain",
    "german": "der alte Müller fährt über die Brücke größer Straße Häuser Überraschung schließlich Äpfel möchte Fußgängerübergang Donaudampfschifffahrt",
    "french": "l'été déjà où çà naïve cœur garçon forêt élève aujourd'hui qu'est-ce hôtel Noël être œuvre à bientôt",
    "spanish": "mañana ¿cómo estás? ¡hola! niño corazón pingüino árbol ciudad después camión jamás acción",
    "portuguese": "coração não ação pão avô avó lições também é água pássaro cidade",
    "italian": "perché città è già così virtù caffè la notte lupo castello",
    "polish": "zażółć gęślą jaźń łódź źdźbło księżyc wilk zamek święto ćma",
    "czech": "příliš žluťoučký kůň úpěl ďábelské ódy měsíc vlk hřbitov",
    "hungarian": "árvíztűrő tükörfúrógép kastély őrült éjszaka űrhajó",
    "turkish": "İstanbul ışık çocuk güneş şeker ağaç dağ gökyüzü ölü",
    "finnish": "yö hämärä linna susi äiti hyvää päivää löyly käärme",
    "icelandic": "þetta er ævintýri um álfa ís og eld ð Þór dóttir",
    "vietnamese": "xin chào thế giới đêm trăng sói lâu đài tiếng Việt người nhiều nước",
    "romanian": "noapte lună pădure înțelept țară șapte mâine bătrân",
    "latvian": "nakts mēness ķēniņš ļoti ņem šķūnis ģimene",
    "maltese": "ħobż għajn ċavetta żarbun ġnien",
    "welsh": "lloer blaidd castell ŵyr tŷ gwyrdd",
    "greek": "η νύχτα είναι σκοτεινή λύκος φεγγάρι κάστρο Ἀθῆναι ψυχή όνειρο ΐ ΰ ς σ",
    "russian": "ночь луна волк замок ёж объявление щука здравствуйте Москва съешь ещё этих булок",
    "ukrainian": "ніч місяць вовк їжак ґанок є під п'ять",
    "serbian": "ноћ месец вук љубав њива џеп ђак ћуран",
    "kazakh": "түн ай қасқыр әке өзен ұшақ үй ғылым іні",
    "armenian": "գիշեր լուսին գայլ ամրոց բարեւ և",
    "georgian": "ღამე მთვარე მგელი ციხე გამარჯობა ჯ",
    "hebrew": "לילה ירח זאב טירה שָׁלוֹם עֲלֵיכֶם ספר",
    "arabic": "ليل قمر ذئب قلعة السلام عليكم مُحَمَّد لا إله ـــ كتاب",
    "persian": "شب ماه گرگ قلعه می‌روم پنجره چراغ ژاله",
    "urdu": "رات چاند بھیڑیا قلعہ ہے ڈر ٹوپی",
    "hindi": "रात चाँद भेड़िया किला नमस्ते क्ष ज्ञान हिन्दी में",
    "bengali": "রাত চাঁদ নেকড়ে দুর্গ নমস্কার বাংলা",
    "punjabi": "ਰਾਤ ਚੰਦ ਬਘਿਆੜ ਕਿਲ੍ਹਾ",
    "gujarati": "રાત ચંદ્ર વરુ કિલ્લો",
    "tamil": "இரவு நிலா ஓநாய் கோட்டை வணக்கம் தமிழ்",
    "telugu": "రాత్రి చంద్రుడు తోడేలు కోట",
    "kannada": "ರಾತ್ರಿ ಚಂದ್ರ ತೋಳ ಕೋಟೆ",
    "malayalam": "രാത്രി ചന്ദ്രൻ ചെന്നായ കോട്ട",
    "sinhala": "රාත්‍රිය සඳ වෘකයා ශ්‍රී",
    "thai": "กลางคืน พระจันทร์ หมาป่า ปราสาท สวัสดี ผู้ใหญ่",
    "lao": "ກາງຄືນ ພະຈັນ ໝາປ່າ",
    "khmer": "យប់ ព្រះចន្ទ ចចក ប្រាសាទ",
    "burmese": "ည လ ဝံပုလွေ ရဲတိုက် မင်္ဂလာပါ",
    "tibetan": "མཚན་མོ ཟླ་བ སྤྱང་ཀི",
    "amharic": "ሌሊት ጨረቃ ተኩላ ግንብ ሰላም፡",
    "chinese": "夜晚 月亮 狼 城堡 你好，世界！ 龍門客棧 吸血鬼 「引號」 漢字",
    "japanese": "夜 月 オオカミ 城 こんにちは 吸血鬼の館 ｶﾞｷﾞ ありがとう。 ーーー",
    "korean": "밤 달 늑대 성 안녕하세요 흡혈귀 한국어 ㅋㅋㅋ 각",
    "mongolian": "шөнө ᠰᠠᠷᠠ чоно ᠮᠣᠩᠭᠣᠯ",
    "cherokee": "ᎤᏃᏱ ᏅᏓ ᏩᏯ ꮳꮃꭹ",
    "inuktitut": "ᐅᓐᓄᐊᖅ ᑕᖅᑭᖅ ᐊᒪᕈᖅ",
    "yoruba": "alẹ́ òṣùpá ìkookò ilé ọba",
    "hausa": "dare wata ɓauna ƙasa ɗaki",
    "old scripts": "𐌰𐌱𐌲 𐀀𐀁 𓀀𓁐 𒀀𒁀 ᚠᚢᚦᚨᚱᚲ ⲁⲃⲅ 𐤀𐤁 ᛗᚨᚾ",
    "mathematics": "𝔳𝔞𝔪𝔭 𝒷ℴ𝓁𝒹 𝟘𝟙𝟚 ∀x∈ℝ ∑ᵢ xᵢ² ≤ ∞ √2 ≈ 1·414 α→β ∂f/∂t ⊕ ℵ₀",
    "full width": "Ｈｅｌｌｏ　Ｗｏｒｌｄ １２３ ＜｜ｉｍ＿ｅｎｄ｜＞",
}

EMOJI = [
    "🧛", "🧛🏻‍♀️", "🧛🏿‍♂️", "🐺", "🧟", "🧟‍♀️", "💀", "☠️", "👻", "🦇", "🌕", "⚰️", "🩸", "👨‍👩‍👧‍👦", "👩🏽‍🚀", "🏳️‍🌈", "🏴‍☠️",
    "🇩🇪", "🇯🇵", "🇺🇸🇫🇷", "1️⃣", "#️⃣", "*️⃣", "❤️", "❤️‍🔥", "👍🏼", "🤝🏾", "🫱🏻‍🫲🏿", "😀", "😶‍🌫️", "☺", "✌🏽", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🪦", "🫀", "㊙️", "™️", "⏳",
]

MARKS = [
    "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>",
    "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>",
    "<jupyter_code>", "<jupyter_output>", "<jupyter_script>", "<empty_output>", "</s>", "<s>", "<unk>", "[INST]",
    "[/INST]", "<<SYS>>", "<|eot_id|>", "<|start_header_id|>", "<|user|>", "<|assistant|>", "<|system|>",
    "<start_of_turn>", "<end_of_turn>", "<think>", "</think>", "<tool_call>", "<0x0A>", "<pad>",
]

CODE = [
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }",
    "def bite(self, target: str = 'neck') -> None:\n    self.blood += 1\n\treturn None",
    "fn main() -> Result<(), Box<dyn Error>> {\n    println!(\"{:?}\", vec![1, 2, 3]);\n}",
    "SELECT name, COUNT(*) FROM npcs WHERE archetype = 'lich' GROUP BY name;",
    "<div class=\"npc\" id='v1'>&nbsp;<b>Hi</b><!-- no --></div>",
    "{\"op\": \"say\", \"d\": {\"npc\": \"v1\", \"text\": \"\\u00e9\\n\"}}",
    "if [[ -z \"$HOME\" ]]; then echo \"no home\" >&2; exit 1; fi",
    "x = lambda a, *b, **c: {k: v for k, v in c.items() if v is not None}",
    "#include <stdio.h>\r\nint main(void) {\r\n\treturn 0;\r\n}\r\n",
    "\\begin{equation} E = mc^2 \\end{equation}",
    "import React, { useState } from 'react';",
    "0xDEADBEEF 0b1010 0o777 1e-9 1_000_000 3.14f 42ULL",
    "a&&b||!c^d<<2>>>1 ?? e?.f!.g",
    "@decorator\n@other(arg=1)\nclass Npc(Base): pass",
    "ls -la | grep '^d' | awk '{print $9}' > /dev/null",
    "std::vector<std::pair<int, std::string>> v{{1, \"a\"}};",
    "let re = Regex::new(r\"^\\s*(\\w+)\\s*=\\s*(.*)$\")?;",
    "- [ ] todo\n- [x] done\n\n## Heading\n> quote\n```rust\n```",
]

URLS = [
    "https://example.org/path/to/page?id=42&lang=de#top", "http://localhost:7777/ws", "ftp://user:pa%20ss@host.example/~x",
    "mailto:vlad.t@example.com", "C:\\Program Files\\NPC\\run.exe", "/usr/local/bin/../lib", "www.example.co.uk/a_b-c.d",
    "ws://[::1]:8080/ws?t=a+b%2Fc", "git@example.com:group/repo.git", "file:///etc/hosts", "192.168.0.1:80", "2001:db8::8a2e:370:7334",
]

NUMERALS = ["٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "০১২৩", "๐๑๒๓", "１２３４５", "Ⅳ Ⅻ ⅷ", "½ ¾ ⅓ ⅝", "x² y³ z⁴", "H₂O", "①②③ ⑩ ㉑", "一二三四五 〇", "𝟎𝟏𝟐 𝟛𝟜"]

SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\u0085", "\u1680", "\u202f", "\v", "\f", "\u205f"]

INVISIBLE = ["\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202e", "\u2066", "\u2067", "\u2069", "\u00ad", "\ufeff", "\u2060", "\ufe0f", "\ufe0e", "\u061c", "\u180e"]

COMBINING = [chr(c) for c in list(range(0x300, 0x370)) + [0x483, 0x5B0, 0x5BC, 0x64B, 0x651, 0x93C, 0x94D, 0xE31, 0xE49, 0x1AB0, 0x1DC4, 0x20D0, 0x20DD, 0x3099, 0xFE20]]

PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["…", "—", "–", "“", "”", "‘", "’", "«", "»", "¡", "¿", "§", "¶", "†", "•", "。", "、", "！", "？", "،", "؟", "।", "€", "£", "¥", "₿", "©", "®", "→", "⇒", "█", "▁", "░", "♥", "\ufffd"]

# Ranges of characters that every tokenizer's tables have known for long, for random texts.
RANGES = [
    (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x17F), (0x180, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x556),
    (0x5D0, 0x5EA), (0x620, 0x64A), (0x905, 0x939), (0xE01, 0xE3A), (0x10D0, 0x10F0), (0x1E00, 0x1EFF), (0x2010, 0x205E),
    (0x20A0, 0x20BF), (0x2100, 0x214F), (0x2190, 0x23FF), (0x2500, 0x25FF), (0x2600, 0x27BF), (0x3041, 0x3096), (0x30A0, 0x30FF),
    (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFF01, 0xFFEE), (0x1D400, 0x1D4FF), (0x1F300, 0x1F64F), (0x20000, 0x2A6D6),
]


class Random:
    """xorshift64*: the same numbers everywhere."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        x = self.state
        x ^= x >> 12
        x = (x ^ (x << 25)) & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 27
        self.state = x
        return ((x * 0x2545F4914F6CDD1D) & 0xFFFFFFFFFFFFFFFF) % (1 << 53) * n >> 53

    def pick(self, items):
        return items[self.below(len(items))]

    def some(self, items, low, high):
        return [self.pick(items) for _ in range(low + self.below(high - low + 1))]


R = Random(0x9E3779B97F4A7C15)
LANGUAGES = {name: words.split() for name, words in WORDS.items()}


def words(language=None, low=3, high=12):
    return R.some(LANGUAGES[language or R.pick(sorted(LANGUAGES))], low, high)


def recase(word):
    return [word, word.upper(), word.lower(), word.capitalize(), word.swapcase()][R.below(5)]


def sentence(language=None):
    out = words(language)
    if R.below(2):
        out[0] = out[0][:1].upper() + out[0][1:]
    for i in range(len(out) - 1):
        if R.below(6) == 0:
            out[i] += R.pick([",", ";", ":", " –", "..."])
    return " ".join(out) + R.pick([".", "!", "?", "", "…", "?!", '."'])


def mixed_languages():
    return " ".join(w for _ in range(3) for w in words(low=1, high=4))


def emoji():
    glue = R.pick(["", " ", "\u200d", "x"])
    return R.pick(["", "look ", "hé"]) + glue.join(R.some(EMOJI, 1, 7)) + R.pick(["", "!", " ok"])


def digits():
    kind = R.below(8)
    if kind == 0:
        return str(R.below(10 ** (1 + R.below(15))))
    if kind == 1:
        return f"{R.below(100000) / 100} {R.below(1000)},{R.below(1000):03} -{R.below(50)}% +{R.below(99)}°C"
    if kind == 2:
        return f"{1900 + R.below(150)}-{1 + R.below(12):02}-{1 + R.below(28):02}T{R.below(24):02}:{R.below(60):02}:{R.below(60):02}Z"
    if kind == 3:
        return f"+{R.below(99)} ({R.below(999)}) {R.below(9999)}-{R.below(9999)}"
    if kind == 4:
        return " ".join(R.some(NUMERALS, 1, 4))
    if kind == 5:
        return "".join(f"{R.pick(words())}{R.below(10000)}" for _ in range(3))
    if kind == 6:
        return f"v{R.below(20)}.{R.below(20)}.{R.below(20)}-rc{R.below(9)} {R.below(256):x}{R.below(65536):04X}"
    return " ".join(str(R.below(10 ** R.below(8))) for _ in range(2 + R.below(5)))


def code():
    text = R.pick(CODE)
    if R.below(2):
        indent = R.pick(["    ", "\t", "  ", "\t\t", "        "])
        text = "\n".join(indent + line for line in (text + "\n" + R.pick(CODE)).split("\n"))
    return text


def control():
    pool = [chr(c) for c in list(range(0x20)) + [0x7F] + list(range(0x80, 0xA0))]
    return "".join(part for word in words(low=1, high=4) for part in (word, "".join(R.some(pool, 0, 4)))) + R.pick(pool)


def combining():
    return " ".join("".join(c + "".join(R.some(COMBINING, 0, 4)) for c in word) for word in words(R.pick(["english", "french", "russian", "hebrew"]), 1, 4))


def spaces():
    return "".join(part for word in words("english", 1, 6) for part in ("".join(R.some(SPACES, 1, 6)), word)) + "".join(R.some(SPACES, 0, 5))


def mixed_case():
    return " ".join(recase(w) + R.pick(["", "'s", "'S", "'LL", "'ve", "’t", "'d", "'re", "'M", "n't"]) for w in words(low=2, high=7))


def urls():
    return R.pick(["", "see ", "("]) + R.pick(URLS) + R.pick(["", ")", ".", " " + R.pick(URLS), "/" + R.pick(words())])


def right_to_left():
    out = words(R.pick(["hebrew", "arabic", "persian", "urdu"]), 2, 8)
    return "".join(w + R.pick([" ", " ", "\u200f", "\u200e ", " (abc) ", " 123 ", "، ", "\u202b", "\u202c "]) for w in out)


def marks():
    out = []
    for word in words(low=1, high=5):
        mark = R.pick(MARKS)
        if R.below(6) == 0:
            cut = R.below(len(mark))
            mark = mark[:cut] + R.pick(["", " ", "\u200b", mark[cut:].upper()]) + mark[cut:]
        out += [word, R.pick(["", " ", "\n"]), mark, R.pick(["", " ", "\n", "user\n", "system\n", "assistant\n"])]
    return "".join(out)


def invisible():
    return "".join(c for w in words(low=1, high=4) for c in (w, R.pick(INVISIBLE), R.pick(["", " "]), R.pick(INVISIBLE)))


def punctuation():
    return R.pick([" ", ""]).join("".join(R.some(PUNCTUATION, 1, 6)) + R.pick(["", R.pick(words())]) for _ in range(1 + R.below(5)))


def random_characters():
    out = []
    for _ in range(1 + R.below(24)):
        low, high = R.pick(RANGES)
        out.append(chr(low + R.below(high - low + 1)))
    return "".join(out)


def repeats():
    return R.pick(["a", "ha", "!", "\n", " ", "=", "-", "🧛", "あ", "0", "xy", "ß", "\t", "<|", "."]) * (1 + R.below(60))


def quoted():
    return f"“{sentence()}” {R.pick(['said', 'dit', 'сказал', 'と言った'])} {R.pick(['Mr.', 'Dr.', 'O’Neill', 'Jean-Luc', 'van der Berg'])}: '{sentence('english')}'"


KINDS = [
    (sentence, 10), (mixed_languages, 3), (emoji, 3), (digits, 4), (code, 3), (control, 2), (combining, 2), (spaces, 3),
    (mixed_case, 4), (urls, 2), (right_to_left, 2), (marks, 5), (invisible, 2), (punctuation, 3), (random_characters, 4),
    (repeats, 1), (quoted, 2),
]


def lines():
    seen = {}
    for language in sorted(LANGUAGES):
        for _ in range(4):
            seen.setdefault(sentence(language))
    for mark in MARKS:
        seen.setdefault(mark)
    for code_point in list(range(0x00, 0x180)):
        seen.setdefault("a" + chr(code_point) + "b")
    bag = [kind for kind, weight in KINDS for _ in range(weight)]
    while len(seen) < COUNT:
        text = R.pick(bag)()
        if text:
            seen.setdefault(text)
    return list(seen)[:COUNT]


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lines.jsonl")
    with open(path, "w", encoding="ascii", newline="\n") as out:
        for text in lines():
            out.write(json.dumps(text) + "\n")


if __name__ == "__main__":
    main()
