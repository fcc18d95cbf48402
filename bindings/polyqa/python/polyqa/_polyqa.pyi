from os import PathLike
from pathlib import Path
from typing import Any, Dict, Iterable, List, Literal, Optional, Sequence, Tuple, TypedDict, Union
from typing import overload

__version__: str

class _Place(TypedDict):
    document: str
    start: int
    end: int
    probability: float

class Place(_Place, total=False):
    page: int

class _Answer(TypedDict):
    text: str
    start: int
    end: int
    start_byte: int
    end_byte: int
    sentence: str
    start_in_sentence: int
    document: str
    probability: float
    total_probability: float
    places: List[Place]
    score: float

class Answer(_Answer, total=False):
    page: int

class _Answers(TypedDict):
    question: str
    answers: List[Answer]
    null_probability: float
    no_answer: bool

class TruncatedQuestion(TypedDict):
    tokens: int
    max_tokens: int

class Answers(_Answers, total=False):
    id: str
    truncated_question: TruncatedQuestion

class Collection:
    def __new__(
        cls, folder: Union[str, PathLike[str]], *, create: bool = False
    ) -> Collection: ...
    @property
    def folder(self) -> Path: ...
    def update(self, documents: Iterable[Dict[str, Any]]) -> None: ...
    def remove(self, ids: Union[str, Iterable[str]]) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: str) -> bool: ...
    def __getnewargs__(self) -> Tuple[Path]: ...

class Reader:
    def __new__(
        cls,
        model: Optional[Union[str, PathLike[str]]] = None,
        *,
        device: str = "auto",
        precision: Optional[Literal["auto", "f32", "bf16", "int8", "f16"]] = None,
        batch_size: Optional[int] = None,
        max_length: Optional[int] = None,
        doc_stride: Optional[int] = None,
        max_answer_length: int = 30,
        answers: int = 3,
        null_threshold: Optional[float] = None,
    ) -> Reader: ...
    @overload
    def answer(
        self,
        question: str,
        documents: Union[str, Iterable[Union[str, Dict[str, Any]]], Collection],
    ) -> Answers: ...
    @overload
    def answer(
        self, question: Iterable[Union[str, Dict[str, Any]]], documents: Collection
    ) -> List[Answers]: ...
    @overload
    def answer(
        self, question: Iterable[Dict[str, Any]], documents: None = None
    ) -> List[Answers]: ...
    def __getnewargs_ex__(self) -> Tuple[Tuple[Optional[str]], Dict[str, Any]]: ...

def program(arguments: Sequence[str]) -> int: ...
