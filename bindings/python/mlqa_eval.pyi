"""Evaluation of cross-lingual extractive question answering."""

from os import PathLike
from typing import Any, Dict, List, Literal, Optional, Tuple, TypedDict, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str

_Dataset = Union[str, PathLike[str], Dict[str, Any], List[Dict[str, Any]]]
_Predictions = Union[str, PathLike[str], Dict[str, str]]

class QuestionScore(TypedDict):
    exact_match: int
    f1: float
    answered: bool

class MeanScore(TypedDict):
    exact_match: float
    f1: float

class LanguageScore(MeanScore):
    questions: int

class _Score(TypedDict):
    exact_match: float
    f1: float
    questions: int
    unanswered: List[str]

class Score(_Score, total=False):
    languages: Dict[str, LanguageScore]
    mean: MeanScore
    mean_without_en: Optional[MeanScore]
    per_question: Dict[str, QuestionScore]

class Candidate(TypedDict):
    text: str
    score: float
    probability: float
    start_logit: float
    end_logit: float
    window: int
    start: int
    end: int
    answer_start: int

class NBest(TypedDict):
    candidates: List[Candidate]
    null_score: Optional[float]
    null: bool

def score(
    dataset: _Dataset,
    predictions: _Predictions,
    lang: Optional[str] = None,
    *,
    norm: Literal["mlqa", "squad"] = "mlqa",
    per_question: bool = False,
) -> Score: ...

class Windows:
    @property
    def ids(self) -> List[str]: ...
    @property
    def input_ids(self) -> NDArray[np.int64]: ...
    @property
    def attention_mask(self) -> NDArray[np.int64]: ...
    @property
    def token_type_ids(self) -> NDArray[np.int64]: ...
    @property
    def question(self) -> NDArray[np.int64]: ...
    @property
    def start_positions(self) -> Optional[NDArray[np.int64]]: ...
    @property
    def end_positions(self) -> Optional[NDArray[np.int64]]: ...
    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...
    def __reduce__(self) -> Tuple[Any, ...]: ...

def windows(
    dataset: _Dataset,
    tokenizer: Union[str, PathLike[str]],
    *,
    max_length: int = 384,
    doc_stride: int = 128,
    max_question_length: int = 64,
    separator: Literal["template", "double", "single"] = "template",
    segment_ids: bool = False,
    train: bool = False,
    unanswerable_window: Literal["cls", "drop"] = "cls",
    compatible: Optional[Literal["run_qa"]] = None,
) -> Windows: ...
def decode(
    windows: Windows,
    start_logits: ArrayLike,
    end_logits: ArrayLike,
    *,
    n_best: int = 20,
    max_answer_length: int = 30,
    allow_null: Optional[float] = None,
) -> Dict[str, str]: ...
def n_best(
    windows: Windows,
    start_logits: ArrayLike,
    end_logits: ArrayLike,
    *,
    n_best: int = 20,
    max_answer_length: int = 30,
    allow_null: Optional[float] = None,
) -> Dict[str, NBest]: ...
