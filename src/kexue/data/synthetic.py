"""Sample records with a known answer: Chinese and English sentences with nested entities.

A small grammar writes the sentences. Names are made of random characters or syllables, so that most
names of a second sample were never seen in the first. Bare names carry no mark of their kind, names
come back within a text as something else, and names of dogs, trees or brands are no entities. What
a name is has to be read from its context, and a dictionary of known names does badly.
"""

import random
import re

from kexue._check import invalid

LABELS = ("person", "organization", "place", "work", "event", "date")

# A line gives alternatives for a symbol; one that stands twice is twice as likely. A symbol with a
# dot is an entity, labelled by what stands before the dot. {3-9} is a random integer. {core} is a
# name of any kind. An entity inside another one keeps its mark (市, a surname and so on) where the
# border could not be told without it.
_CHINESE = """
sentence: {clause}。 | {when}，{clause}。 | {clause}，{aside}。 | {when}，{clause}，{aside}。
when: {date.day} | {date.day} | {date.rough} | 据说 | 到了第{2-90}页 | 听完介绍
aside: 这让{person}很意外 | 而{person}没有说话 | 花了{2-90}万元 | 路上用了{2-20}个小时
aside: 排在第{2-90}位 | 消息传到了{place} | {organization}没有回应 | 旁边有一家医院
clause: {person}在{place}长大 | {person}从{place}坐车到{place} | {place}下了一场大雨
clause: {person}搬到了{place} | 我们沿着{place}一直走 | {place}的人口超过{10-90}万
clause: {person}加入了{organization} | {organization}宣布裁员 | {person}起诉了{organization}
clause: {organization}收购了{organization} | {person}辞去{organization}的职务
clause: {organization}在{place}设立了办事处 | {organization}任命{person}为经理
clause: {person}读完了《{work}》 | {person}主演的{work}上映了 | 《{work}》的作者是{person}
clause: {organization}出版了《{work}》 | 电影{work}在{place}取景 | {person}翻译了小说{work}
clause: {work}获奖后{person}卖掉了{place}的房子 | {person}正在拍摄{work} | 人人都在谈论《{work}》
clause: {organization}取消了{event} | {event}请来了{person} | {event}的门票卖完了
clause: {person}报名参加{event} | {event}在{place}开幕 | {organization}主办了{event}
clause: {event}推迟到{date.day} | {person}在{event}上获奖 | {organization}退出了{event}
clause: {person}和{person}在{organization}门口见面 | {person}笑着说{person}迟到了
clause: {person}生于{date.day} | {date.rough}{person}回到了{place} | {person}嫁给了{person}
clause: {person}养了一条叫{core}的狗 | 花园里种着一株{core} | 他买了{2-20}瓶{core}牌酱油
clause: {person}不认识{core}这两个字 | 我把{core}写在纸上给{person}看 | {core}是一种布料
clause: {place}有一种名叫{core}的鱼 | 编号{1900-2030}的箱子寄给了{person} | 公司里没有人
person: {person.full} | {person.full} | {person.full} | {person.bare} | {person.short}
person.full: {surname}{han} | {surname}{han}{han} | {surname}{han}{han}
person.bare: {core}
person.short: 小{han} | 老{surname} | {surname}老师
place: {place.town} | {place.bare} | {place.inner} | {place.inner}
place.town: {core}市 | {core}县 | {core}镇 | {core}乡 | {core}村
place.bare: {core}
place.inner: {place.town}{core}路 | {place.town}{core}区 | {place.town}火车站
organization: {organization.bare} | {organization.nested}
organization: {organization.nested} | {organization.nested}
organization.bare: {core} | {core} | {core}公司 | {core}集团
organization.nested: {place.town}{core}医院 | {place.town}第{numeral}中学 | {place.bare}大学
organization.nested: {person.full}工作室 | {place.town}{core}公司 | {person.full}基金会
organization.nested: {organization.campus}图书馆 | {place.town}派出所 | {place.inner}派出所
organization.campus: {place.town}大学 | {place.bare}大学
work: {work.bare} | {work.nested} | {work.nested} | {work.nested}
work.bare: {core} | {core}之歌 | {han}与{han}
work.nested: {place.town}往事 | {place.bare}往事 | {person.full}传 | 写给{person.full}的信
work.nested: 再见{place.bare} | 去{place.town}的路
event: {event.nested} | {event.nested} | {event.nested} | {event.bare}
event.bare: {core}杯 | 第{numeral}届{core}节
event.nested: {date.year}{place.town}马拉松 | {place.bare}音乐节 | {date.year}{core}论坛
event.nested: {organization.bare}年会 | 第{numeral}届{place.town}书展 | {person.full}画展
date.year: {1950-2030}年
date.day: {1950-2030}年{1-12}月{1-28}日 | {1-12}月{1-28}日 | {1950-2030}年{1-12}月
date.rough: {1950-2030}年春天 | {1-12}月底 | 上个月{1-28}号 | {1950-2030}年
numeral: 一 | 二 | 三 | 四 | 五 | 六 | 七 | 八 | 九 | 十
core: {han}{han} | {han}{han} | {han}{han} | {han}{han}{han}
"""
_SURNAMES = "王李张刘陈杨赵黄周吴徐孙马朱胡林郭何高罗郑梁谢宋唐许邓冯韩曹"
_HAN = (
    "云溪白桦青石松竹兰海晨星月辰安宁长平东西南北金玉春秋明华文武永康江河清泉虹桥龙凤鹤梅荷枫桂柳杉岚"
    "峰岭川原野城关港湾洲岛风雨雪霜霞光景顺祥瑞福嘉佳美雅静思远志诚信义仁德心"
)

_ENGLISH = """
sentence: {clause}. | {clause} {when}. | {clause}, {aside}. | {clause} {when}.
when: on {date.day} | in {date.month} | in {date.year} | after {2-90} minutes | once more
aside: to the surprise of {person} | though {person} said nothing | for {1900-2030} dollars
aside: far away from {place} | as {organization} confirmed | not far from the hospital
clause: {person} grew up in {place} | {person} took a train to {place} | Rain fell over {place}
clause: {person} moved to {place} | We drove through {place} | Few people live in {place}
clause: {person} joined {organization} | {organization} cut {2-90} jobs
clause: {organization} sued {organization} | {person} resigned from {organization}
clause: {organization} opened an office in {place} | {organization} hired {person}
clause: {person} read {work} twice | {work} was written by {person} | {person} starred in {work}
clause: {organization} published {work} | The film {work} was shot in {place}
clause: {person} could not finish {work} | {work} made {person} famous | Critics praised {work}
clause: {organization} cancelled {event} | Tickets for {event} sold out | {person} won {event}
clause: {person} signed up for {event} | {event} opened in {place} | {person} spoke at {event}
clause: {event} was put off until {date.day} | {organization} hosted {event}
clause: {person} met {person} outside {organization} | {person} laughed at {person}
clause: {person} was born on {date.day} | {person} married {person} | Nobody believed {person}
clause: {person} has a dog called {core} | A {core} tree grows in the garden
clause: He bought {2-20} bags of {core} flour | {person} cannot spell the word {core}
clause: The {core} method takes {2-90} steps | Box {1900-2030} was sent to {person}
person: {person.full} | {person.full} | {person.bare} | {person.titled}
person.full: {core} {core} | {core} {core} | {core} {letter}. {core}
person.bare: {core}
person.titled: Dr. {core} | Professor {core} | Mrs. {core}
place: {place.town} | {place.inner}
place.town: {core} | {core} | Port {core} | {core} Island | Lake {core}
place.inner: {core} Street in {place.town} | {place.town} Central Station
organization: {organization.bare} | {organization.nested}
organization: {organization.nested} | {organization.nested}
organization.bare: {core} | {core} | {core} Ltd | {core} & {core}
organization.nested: the University of {place.town} | the Bank of {place.town}
organization.nested: {place.town} City Council | {place.town} Airlines | {place.town} Hospital
organization.nested: the {person.full} Foundation | {organization.bare} Research
organization.nested: the library of {organization.campus} | the museum of {place.inner}
organization.campus: the University of {place.town} | {core} College
work: {work.bare} | {work.nested} | {work.nested} | {work.nested}
work.bare: {core} | The {core} Song | {core} and {core}
work.nested: A Winter in {place.town} | The Life of {person.full} | Letters to {person.full}
work.nested: Goodbye, {place.town} | The Road to {place.town}
event: {event.nested} | {event.nested} | {event.nested} | {event.bare}
event.bare: the {core} Cup | the {core} Festival
event.nested: the {date.year} {place.town} Marathon | the {place.town} Book Fair
event.nested: the {date.year} {core} Summit | the {organization.bare} Annual Meeting
date.year: {1950-2030}
date.month: {month} {1950-2030} | early {month} | the spring of {1950-2030}
date.day: {1-28} {month} {1950-2030} | {month} {1-28} | {month} {1-28}, {1950-2030}
month: January | February | March | April | May | June | July
month: August | September | October | November | December
core: {syllable}{syllable} | {syllable}{syllable} | {syllable}{syllable}{syllable}
syllable: {onset}{vowel}{coda}
onset: b | d | f | g | k | l | m | n | p | r | s | t | v | z | br | dr | kl | st | tr | sh
vowel: a | e | i | o | u | a | e | i | o | u | ai | or
coda: | | | n | r | l | s | m
"""

_GRAMMARS = {"zh": _CHINESE, "en": _ENGLISH}
_LETTERS = {"surname": _SURNAMES, "han": _HAN, "letter": "ABCDEFGHJKLMNPRSTVW"}
_PIECE = re.compile(r"\{([^}]+)\}|([^{]+)")
_NUMBER = re.compile(r"(\d+)-(\d+)")
_NAME_COMES_BACK = 0.35
_TEXT_IS_LONG = 0.1


def _parse(grammar: str) -> dict[str, list[str]]:
    """Read the lines of a grammar into the alternatives of each symbol."""
    rules: dict[str, list[str]] = {symbol: list(letters) for symbol, letters in _LETTERS.items()}
    for line in grammar.strip().splitlines():
        symbol, _, alternatives = line.partition(":")
        rules.setdefault(symbol, []).extend(part.strip() for part in alternatives.split("|"))
    return rules


class _Writer:
    """One text in the making: what is written so far, and which spans of it are entities."""

    def __init__(self, rules: dict[str, list[str]], rng: random.Random) -> None:
        self.rules = rules
        self.rng = rng
        self.text = ""
        self.spans: list[dict] = []
        self.names: list[str] = []

    def write(self, symbol: str) -> None:
        """Append a random expansion of `symbol`, and note the span if it is an entity."""
        start = len(self.text)
        number = _NUMBER.fullmatch(symbol)
        if number:
            self.text += str(self.rng.randint(int(number[1]), int(number[2])))
        elif symbol == "core" and self._a_name_comes_back():
            self.text += self.rng.choice(self.names)
        else:
            self._expand(self.rng.choice(self.rules[symbol]))
        if symbol == "core":
            self.text = self.text[:start] + self.text[start:].capitalize()
            self.names.append(self.text[start:])
        label, dot, _ = symbol.partition(".")
        if dot:
            self.spans.append({"start": start, "end": len(self.text), "label": label})

    def _a_name_comes_back(self) -> bool:
        """Tell whether the next name is an earlier one; a name does not follow itself."""
        if not self.names or self.text.rstrip(" &").endswith(self.names[-1]):
            return False
        return self.rng.random() < _NAME_COMES_BACK

    def _expand(self, template: str) -> None:
        """Append a template: its literals as they are, its symbols expanded."""
        for slot, literal in _PIECE.findall(template):
            if slot:
                self.write(slot)
            self.text += literal

    def write_sentence(self) -> None:
        """Append one sentence, with a capital where there are capitals."""
        if self.text.endswith("."):
            self.text += " "
        start = len(self.text)
        self.write("sentence")
        self.text = self.text[:start] + self.text[start].upper() + self.text[start + 1 :]


def _write_record(rules: dict[str, list[str]], rng: random.Random, sentences: int | None) -> dict:
    """Write one text and list its entities, outer before inner."""
    if sentences is None:
        sentences = rng.randint(3, 8) if rng.random() < _TEXT_IS_LONG else 1
    writer = _Writer(rules, rng)
    for _ in range(sentences):
        writer.write_sentence()
    spans = sorted(writer.spans, key=lambda span: (span["start"], -span["end"]))
    return {"text": writer.text, "entities": spans}


def sample_records(
    count: int, *, language: str = "mixed", seed: int = 0, sentences: int | None = None
) -> list[dict]:
    """Write sample records for named entity recognition, all texts different.

    About three in ten entities lie inside another one: the place in an organization, the person in
    a work, the date in an event. A longer sample begins with the shorter one of the same seed.

    Args:
        count: how many records, 0 or more.
        language: "zh", "en" or "mixed" (about half of each).
        seed: the same seed gives the same records; another one gives other names.
        sentences: sentences in each text; None for one in most texts and three to eight in every
            tenth, so that windows can be tried.

    Returns:
        Records `{"text", "entities": [{"start", "end", "label"}]}` with character offsets, end
        exclusive, ordered by start, outer before inner; the labels are those of `LABELS`.

    Raises:
        ValueError: if `count` is negative, `language` unknown or `sentences` not positive.

    Example:
        >>> record = sample_records(1, language="en", seed=88)[0]
        >>> record["text"]
        'Koshim hired Professor Lemdin, far away from Koshim.'
        >>> for entity in record["entities"]:
        ...     print(entity["label"], record["text"][entity["start"] : entity["end"]])
        organization Koshim
        person Professor Lemdin
        place Koshim
    """
    if count < 0:
        raise invalid("count", count, "0 or more")
    if language not in ("zh", "en", "mixed"):
        raise invalid("language", language, "'zh', 'en' or 'mixed'")
    if sentences is not None and sentences < 1:
        raise invalid("sentences", sentences, "1 or more, or None for mostly one")
    rng = random.Random(seed)
    names = ["zh", "en"] if language == "mixed" else [language]
    rules = [_parse(_GRAMMARS[name]) for name in names]
    records: dict[str, dict] = {}
    while len(records) < count:
        record = _write_record(rng.choice(rules), rng, sentences)
        records.setdefault(record["text"], record)
    return list(records.values())
