"use strict";
// User input and responses are inserted as text, never as markup.
const at = (id) => document.getElementById(id);

/** Returns the nodes of a text with `spans` marked: code point ranges that do not overlap. */
function marked(text, spans) {
  const points = Array.from(text);
  const part = (from, to) => document.createTextNode(points.slice(from, to).join(""));
  const parts = [];
  let done = 0;
  for (const { start, end, best } of [...spans].sort((a, b) => a.start - b.start)) {
    const mark = document.createElement("mark");
    mark.className = best ? "best" : "";
    mark.append(part(start, end));
    parts.push(part(done, start), mark);
    done = end;
  }
  parts.push(part(done, points.length));
  return parts;
}

function element(name, className, ...parts) {
  const node = document.createElement(name);
  node.className = className;
  node.append(...parts);
  return node;
}

function setState(message, wrong) {
  at("state").textContent = message;
  at("state").className = wrong ? "wrong" : "";
}

/** Shows the answers in `text`, or in the documents of the collection if there is no text. */
function show(text, result) {
  const inCollection = text === null;
  const best = (rank) => rank === 0 && !result.no_answer;
  const percent = (share) => `${Math.round(100 * share)} %`;
  at("answers").replaceChildren(...result.answers.map((answer, rank) => {
    const length = answer.end - answer.start;
    const span = { start: answer.start_in_sentence, end: answer.start_in_sentence + length, best: best(rank) };
    const item = element("li", "",
      element("div", "answer", answer.text),
      element("div", "place", inCollection
        ? `${percent(answer.probability)} · ${answer.document}` : percent(answer.probability)),
      element("p", "sentence", ...marked(answer.sentence, [span])));
    item.dir = "auto";
    return item;
  }));
  at("whole").hidden = inCollection;
  const spans = result.answers.map((answer, rank) => ({ ...answer, best: best(rank) }));
  at("marked").replaceChildren(...(inCollection ? [] : marked(text, spans)));
  at("found").hidden = false;
  at("marked").querySelector("mark.best")?.scrollIntoView({ block: "nearest" });
  const none = result.no_answer || result.answers.length === 0;
  setState(none ? `No answer (${percent(result.null_probability)}).` : "");
}

async function ask() {
  const question = at("question").value;
  // The text may be empty only if the service has a collection.
  const text = at("text").required || at("text").value.trim() ? at("text").value : null;
  at("go").disabled = true;
  setState("Reading …");
  try {
    const response = await fetch("answer", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(text === null ? { question } : { question, text }),
    });
    const reply = await response.json();
    if (response.ok) {
      show(text, reply.results[0]);
    } else {
      setState(reply.error.message, true);
    }
  } catch {
    setState("No response from the service.", true);
  } finally {
    at("go").disabled = false;
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

/** Shows the model and, if the service has a collection, makes the text optional. */
function describe(health) {
  at("model").append(` Model: ${health.model}.`);
  if (health.documents !== undefined) {
    at("text").required = false;
    at("text-label").textContent = `Text (if empty, ${health.documents} documents are searched)`;
  }
}

async function start() {
  try {
    describe(await (await fetch("health")).json());
  } catch {
    // The page works without the description.
  }
  // The URL fragment, which is not sent to the server: #question=…&text=…
  const parameters = new URLSearchParams(location.hash.slice(1));
  for (const id of ["text", "question"]) {
    at(id).value ||= parameters.get(id) ?? "";
  }
  if (at("ask").checkValidity()) {
    ask();
  }
}

start();
