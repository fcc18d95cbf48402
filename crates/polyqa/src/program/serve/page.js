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

function show(text, result) {
  const best = (rank) => rank === 0 && !result.no_answer;
  const percent = (share) => `${Math.round(100 * share)} %`;
  at("answers").replaceChildren(...result.answers.map((answer, rank) => {
    const length = answer.end - answer.start;
    const span = { start: answer.start_in_sentence, end: answer.start_in_sentence + length, best: best(rank) };
    const item = element("li", "",
      element("div", "answer", answer.text),
      element("div", "place", percent(answer.probability)),
      element("p", "sentence", ...marked(answer.sentence, [span])));
    item.dir = "auto";
    return item;
  }));
  at("marked").replaceChildren(
    ...marked(text, result.answers.map((answer, rank) => ({ ...answer, best: best(rank) }))));
  at("found").hidden = false;
  at("marked").querySelector("mark.best")?.scrollIntoView({ block: "nearest" });
  const none = result.no_answer || result.answers.length === 0;
  setState(none ? `No answer (${percent(result.null_probability)}).` : "");
}

async function ask() {
  const [text, question] = [at("text").value, at("question").value];
  at("go").disabled = true;
  setState("Reading …");
  try {
    const response = await fetch("answer", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question, text }),
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

// The URL fragment, which is not sent to the server: #question=…&text=…
const parameters = new URLSearchParams(location.hash.slice(1));
for (const id of ["text", "question"]) {
  at(id).value = parameters.get(id) ?? "";
}
if (at("ask").checkValidity()) {
  ask();
}

fetch("health").then((response) => response.json()).then((health) => {
  at("model").append(` Model: ${health.model}.`);
}).catch(() => {});
