"use strict";
// Everything that comes from a person or the service is set as text, never as markup.
const at = (id) => document.getElementById(id);

/** Parts of a text between code points, with those of `spans` marked; they do not overlap. */
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
  const made = document.createElement(name);
  made.className = className;
  made.append(...parts);
  return made;
}

function say(message, wrong) {
  at("state").textContent = message;
  at("state").className = wrong ? "wrong" : "";
}

function show(text, result) {
  const best = (rank) => rank === 0 && !result.no_answer;
  const percent = (share) => `${Math.round(100 * share)} %`;
  at("answers").replaceChildren(...result.answers.map((one, rank) => {
    const length = one.end - one.start;
    const span = { start: one.start_in_sentence, end: one.start_in_sentence + length, best: best(rank) };
    const item = element("li", "",
      element("div", "answer", one.text),
      element("div", "place", percent(one.probability)),
      element("p", "sentence", ...marked(one.sentence, [span])));
    item.dir = "auto";
    return item;
  }));
  at("marked").replaceChildren(
    ...marked(text, result.answers.map((one, rank) => ({ ...one, best: best(rank) }))));
  at("found").hidden = false;
  at("marked").querySelector("mark.best")?.scrollIntoView({ block: "nearest" });
  const none = result.no_answer || result.answers.length === 0;
  say(none ? `No answer (${percent(result.null_probability)}).` : "");
}

async function ask() {
  const [text, question] = [at("text").value, at("question").value];
  at("go").disabled = true;
  say("Reading …");
  try {
    const response = await fetch("answer", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question, text }),
    });
    const told = await response.json();
    if (response.ok) {
      show(text, told.results[0]);
    } else {
      say(told.error.message, true);
    }
  } catch {
    say("The service does not answer.", true);
  } finally {
    at("go").disabled = false;
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

// What an address asks after its #, which stays in the browser: #question=…&text=…
const given = new URLSearchParams(location.hash.slice(1));
for (const id of ["text", "question"]) {
  at(id).value = given.get(id) ?? "";
}
if (at("ask").checkValidity()) {
  ask();
}

fetch("health").then((response) => response.json()).then((health) => {
  at("model").append(` Model: ${health.model}.`);
}).catch(() => {});
