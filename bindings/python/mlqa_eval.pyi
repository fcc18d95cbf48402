"""Evaluation of cross-lingual extractive question answering."""

from os import PathLike
from typing import (
    Any, Dict, Iterable, List, Literal, Mapping, Optional, Protocol, Sequence, Tuple, TypedDict,
    Union, overload,
)

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str

class _Row(Protocol):
    def __getitem__(self, key: str, /) -> Any: ...

_File = Union[str, PathLike[str]]
_Rows = Iterable[Union[Mapping[str, Any], _Row]]
_Dataset = Union[_File, Dict[str, Any], _Rows]
_Predictions = Union[_File, Dict[str, str], _Rows]
_Pairs = Union[_File, Dict[Tuple[str, str], Any]]
_Run = Union[_Predictions, _Pairs, Sequence[Any]]

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

class Score(_Score, total=False):
    unanswered: List[str]
    languages: Dict[str, LanguageScore]
    mean: MeanScore
    mean_without_en: Optional[MeanScore]
    per_question: Dict[str, QuestionScore]
    level: float
    exact_match_interval: List[float]
    f1_interval: List[float]

class _Squad2Score(TypedDict):
    exact: float
    f1: float
    total: int

class Squad2Score(_Squad2Score, total=False):
    HasAns_exact: float
    HasAns_f1: float
    HasAns_total: int
    NoAns_exact: float
    NoAns_f1: float
    NoAns_total: int
    best_exact: float
    best_exact_thresh: float
    best_f1: float
    best_f1_thresh: float
    unanswered: List[str]

class Cell(TypedDict):
    context: str
    question: str
    f1: float
    em: float
    questions: int

class Average(TypedDict):
    f1: float
    em: float
    cells: int

class Averages(TypedDict):
    xlt: Optional[Average]
    gxlt: Optional[Average]
    off_diagonal: Optional[Average]
    english_context: Optional[Average]

class Matrix(TypedDict):
    title: str
    cells: List[Cell]
    averages: Averages

class RunDifference(TypedDict):
    data: str
    metric: Literal["f1", "em"]
    questions: int
    baseline: float
    baseline_half_width: Optional[float]
    predictions: float
    predictions_half_width: Optional[float]
    difference: float
    low: float
    high: float
    p_randomisation: float
    p_bootstrap: float
    p_holm: float

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

class CandidateArrays(TypedDict):
    question: NDArray[np.int64]
    window: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    answer_start: NDArray[np.int64]
    answer_end: NDArray[np.int64]
    score: NDArray[np.float32]
    probability: NDArray[np.float64]
    start_logit: NDArray[np.float32]
    end_logit: NDArray[np.float32]

class QuestionArrays(TypedDict):
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    null_score: NDArray[np.float32]
    null: NDArray[np.bool_]

@overload
def score(
    dataset: _Dataset,
    predictions: _Predictions,
    lang: Optional[str] = None,
    *,
    norm: Literal["mlqa", "squad"] = "mlqa",
    per_question: bool = False,
    no_answer_threshold: float = 1.0,
    interval: bool = False,
    resamples: Optional[int] = None,
    level: float = 0.95,
    seed: int = 42,
) -> Score: ...
@overload
def score(
    dataset: _Dataset,
    predictions: _Predictions,
    lang: Optional[str] = None,
    *,
    norm: Literal["squad2"],
    per_question: bool = False,
    no_answer_threshold: float = 1.0,
    interval: bool = False,
    resamples: Optional[int] = None,
    level: float = 0.95,
    seed: int = 42,
) -> Squad2Score: ...
@overload
def compute(
    predictions: _Predictions,
    references: _Dataset,
    *,
    lang: Optional[str] = None,
    norm: Literal["mlqa", "squad"] = "mlqa",
    per_question: bool = False,
    no_answer_threshold: float = 1.0,
    interval: bool = False,
    resamples: Optional[int] = None,
    level: float = 0.95,
    seed: int = 42,
) -> Score: ...
@overload
def compute(
    predictions: _Predictions,
    references: _Dataset,
    *,
    lang: Optional[str] = None,
    norm: Literal["squad2"],
    per_question: bool = False,
    no_answer_threshold: float = 1.0,
    interval: bool = False,
    resamples: Optional[int] = None,
    level: float = 0.95,
    seed: int = 42,
) -> Squad2Score: ...
def matrix(
    data: _Pairs,
    predictions: _Pairs,
    *,
    norm: Literal["mlqa", "squad"] = "mlqa",
    split: str = "test",
    title: str = "Generalised cross-lingual transfer",
) -> Matrix: ...
def compare(
    dataset: Union[_Dataset, _Pairs],
    baseline: _Run,
    predictions: _Run,
    lang: Optional[str] = None,
    *,
    norm: Literal["mlqa", "squad"] = "mlqa",
    split: str = "test",
    resamples: Optional[int] = None,
    level: float = 0.95,
    seed: int = 42,
) -> List[RunDifference]: ...

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
    def texts(
        self, question: ArrayLike, answer_start: ArrayLike, answer_end: ArrayLike
    ) -> List[str]: ...
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
def n_best_arrays(
    windows: Windows,
    start_logits: ArrayLike,
    end_logits: ArrayLike,
    *,
    n_best: int = 20,
    max_answer_length: int = 30,
    allow_null: Optional[float] = None,
) -> Tuple[CandidateArrays, QuestionArrays]: ...
