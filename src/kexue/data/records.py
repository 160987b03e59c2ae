"""The one schema: what every reader returns and every task reads.

A record is one JSON object. Offsets count characters of `text` (Python string indices), `end` is
exclusive, so `text[start:end]` is the surface of a span. Keys that the schema does not know are
kept. Whether a span lies inside its text is not a matter of the schema: `read` refuses such a
record by line, `check` reports it and `repair` clips it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DataError(ValueError):
    """Something in a file that cannot be read or written, with its place and the way out.

    Args:
        path: the file or folder.
        line: the line (1-based) or, in a file that was to be written, the number of the record;
            None where the whole file is meant.
        reason: what is wrong, without a full stop.
        fix: a full sentence that says what to do.

    Example:
        >>> print(DataError("a.jsonl", 3, "the line is not JSON", "Close the bracket."))
        a.jsonl:3: the line is not JSON. Close the bracket.
    """

    def __init__(self, path: str | Path, line: int | None, reason: str, fix: str) -> None:
        super().__init__(path, line, reason, fix)
        self.path = Path(path)
        self.line = line
        self.reason = reason
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.path}" if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.reason}. {self.fix}"


class FormatError(ValueError):
    """What a format finds wrong with one record; `read` and `write` add the place to it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason, fix)
        self.reason = reason
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.reason}. {self.fix}"


class _Schema(BaseModel):
    """Strict: true is no number, "3" is no number; unknown keys are kept."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class _Span(_Schema):
    start: int = Field(ge=0)
    end: int

    @model_validator(mode="after")
    def _in_order(self) -> "_Span":
        if self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        return self


class Entity(_Span):
    """A labelled span of characters.

    Args:
        start: index of the first character.
        end: index after the last character.
        label: its type, not empty.

    Example:
        >>> "我在北京工作"[Entity(start=2, end=4, label="place").start :][:2]
        '北京'
    """

    label: str = Field(min_length=1)


class Relation(_Schema):
    """A labelled pair of entities.

    Args:
        head: index of the first entity in the record's `entities`.
        tail: index of the second.
        label: the type of the relation, not empty.

    Example:
        >>> Relation(head=0, tail=1, label="works for").tail
        1
    """

    head: int = Field(ge=0)
    tail: int = Field(ge=0)
    label: str = Field(min_length=1)


class Argument(_Span):
    """A span that plays a role in an event; the trigger is the argument with the role `trigger`.

    Args:
        start: index of the first character.
        end: index after the last character.
        role: the part it plays, not empty.

    Example:
        >>> Argument(start=2, end=4, role="trigger").role
        'trigger'
    """

    role: str = Field(min_length=1)


class Event(_Schema):
    """An event of one type with its arguments.

    Args:
        type: the type of the event, not empty.
        arguments: spans with roles, the trigger among them where the data marks one.

    Example:
        >>> Event(type="sale", arguments=[Argument(start=0, end=2, role="trigger")]).type
        'sale'
    """

    type: str = Field(min_length=1)
    arguments: list[Argument] = []


class Answer(_Schema):
    """A reference answer to the record's question.

    Args:
        text: the answer as written by the annotator.
        start: index of its first character in the record's text, None where it was not located.

    Example:
        >>> Answer(text="北京", start=2).text
        '北京'
    """

    text: str
    start: int | None = Field(default=None, ge=0)


class Record(_Schema):
    """One text with whatever is known about it; a task reads the fields it needs.

    Args:
        text: the text that all offsets refer to.
        entities: labelled spans, nested and crossing ones allowed.
        relations: pairs of entities, by index.
        events: events with their arguments.
        label: the class of the text, several classes, or a score.
        pair: the second text of a pair.
        question: what is asked about the text.
        answers: reference answers.
        choices: the texts to choose from.
        summary: a reference summary.

    Example:
        >>> record = Record(text="我在北京工作", entities=[Entity(start=2, end=4, label="place")])
        >>> record.to_dict()
        {'text': '我在北京工作', 'entities': [{'start': 2, 'end': 4, 'label': 'place'}]}
    """

    text: str
    entities: list[Entity] = []
    relations: list[Relation] = []
    events: list[Event] = []
    label: str | int | float | list[str] | None = None
    pair: str | None = None
    question: str | None = None
    answers: list[Answer] | None = None
    choices: list[str] | None = None
    summary: str | None = None

    @model_validator(mode="after")
    def _relations_point_at_entities(self) -> "Record":
        for index, relation in enumerate(self.relations):
            for side in (relation.head, relation.tail):
                if side >= len(self.entities):
                    raise ValueError(
                        f"relations[{index}] points at entity {side}, "
                        f"the record has {len(self.entities)} entities, counted from 0"
                    )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give the record as a JSON object; fields that were never given stay out.

        Returns:
            A new dict of plain lists, strings and numbers.

        Example:
            >>> Record.model_validate({"text": "a", "id": 7}).to_dict()
            {'text': 'a', 'id': 7}
        """
        given = self.model_fields_set
        return {
            key: value
            for key, value in self.model_dump().items()
            # a list that was filled in place was never "given", and still must not be lost
            if key in given or value or key not in Record.model_fields
        }


@dataclass(frozen=True)
class Corpus:
    """The records of one file with the line each came from.

    Args:
        records: what could be read, in the order of the file.
        lines: for each record the line (1-based) it begins on.
        path: the file or folder.
        format: the name of its format.
        skipped: what was left out under `skip_bad`, one error each.
        notes: what was odd and cost no record.
        sources: for each record its own file, in formats that spread over several.

    Example:
        >>> corpus = Corpus([Record(text="a")], [1], Path("a.jsonl"), "jsonl")
        >>> len(corpus), [record.text for record in corpus], corpus.place(0)
        (1, ['a'], ('a.jsonl', 1))
    """

    records: list[Record]
    lines: list[int]
    path: Path
    format: str
    skipped: list[DataError] = field(default_factory=list)
    notes: list[DataError] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def place(self, index: int) -> tuple[str, int]:
        """Say where a record stands.

        Args:
            index: position in `records`.

        Returns:
            Its file and line.
        """
        return (self.sources[index] if self.sources else str(self.path)), self.lines[index]
