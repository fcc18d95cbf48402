"""Writes fixtures/harness/samples and fixtures/harness/xquad as lm-evaluation-harness does.

    pip install lm_eval==0.4.13 transformers==4.57.6 datasets==4.0.0
    python crates/testkit/scripts/harness_samples.py

The tasks are the harness's own mlqa_* and xquad_* with the questions of fixtures/harness/data in
place of the published ones; the model says what stands in SAID. Names of files have the time of
the run, hence a new run gives other names.
"""
import json
import shutil
import tempfile
from pathlib import Path

import lm_eval
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/harness"
TASKS = Path(lm_eval.__file__).parent / "tasks"
SAID = {
    "Seit wann mahlt": " 1904\n",
    "Wie heißt": " Die Müllerin heißt Ada Winter.",
    "Wo wohnt": " Sie wohnt oben, unter dem Dach.",
    "Was mahlt": " Roggen",
}


class Chat(LM):
    """Says what is written down."""

    def generate_until(self, requests, disable_tqdm=False):
        prompts = [request.args[0].rsplit("\n\n", 2)[1] for request in requests]
        return [next(said for asked, said in SAID.items() if asked in prompt) for prompt in prompts]

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def rows(path):
    """The questions of a SQuAD-style file as the data hub has them."""
    for article in json.loads(path.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                starts = [answer["answer_start"] for answer in qa["answers"]]
                texts = [answer["text"] for answer in qa["answers"]]
                answers = {"answer_start": starts, "text": texts}
                row = {"context": paragraph["context"], "question": qa["question"]}
                yield {**row, "answers": answers, "id": qa["id"]}


def run(out, tasks, limit):
    """Runs tasks of these names and writes what the program writes with --log_samples."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for task in tasks:
            family, *languages = task.split("_")
            context, question = languages[0], languages[-1]
            data = FIXTURES / f"data/test-context-{context}-question-{question}.json"
            lines = [json.dumps(row, ensure_ascii=False) for row in rows(data)]
            (folder / f"{task}.jsonl").write_text("\n".join(lines) + "\n")
            for name in ["utils.py", f"{family}_common_yaml", f"{task}.yaml"]:
                shutil.copy(TASKS / family / name, folder / name)
            split = {"mlqa": "test", "xquad": "validation"}[family]
            with (folder / f"{task}.yaml").open("a") as file:
                file.write(f"\ndataset_path: json\ndataset_name: null\nvalidation_split: null\n")
                file.write(f"test_split: {split}\ndataset_kwargs:\n  data_files:\n")
                file.write(f"    {split}: {folder / task}.jsonl\n")
        tracker = EvaluationTracker(output_path=str(out))
        results = lm_eval.simple_evaluate(
            model=Chat(),
            model_args="pretrained=acme/chat-1b",
            tasks=list(tasks),
            limit=limit,
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            evaluation_tracker=tracker,
            log_samples=True,
        )
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for task in results["configs"]:
            tracker.save_results_samples(task_name=task, samples=samples[task])


def plain(path):
    """Leaves out what tells of the machine, and the source of the tasks."""
    results = json.loads(path.read_text())
    for key in ["configs", "git_hash", "pretty_env_info", "upper_git_hash"]:
        results.pop(key, None)
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    for folder in ["samples", "xquad"]:
        shutil.rmtree(FIXTURES / folder, ignore_errors=True)
    run(FIXTURES / "samples", ["mlqa_de_de"], 1)
    run(FIXTURES / "samples", ["mlqa_de_de", "mlqa_en_de"], 3)
    run(FIXTURES / "xquad", ["xquad_de"], None)
    for path in FIXTURES.glob("*/*/results_*.json"):
        plain(path)
