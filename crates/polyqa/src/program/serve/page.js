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

/** Hides the answers to an earlier question. */
function clearAnswers() {
  at("found").hidden = true;
  at("answers").replaceChildren();
  at("marked").replaceChildren();
}

function setState(message, wrong) {
  at("state").textContent = message;
  at("state").className = wrong ? "wrong" : "";
}

/** Returns the document (in a collection) and page of a place. */
function place({ document, page }, inCollection) {
  return (inCollection ? ` · ${document}` : "") + (page ? `, page ${page}` : "");
}

/** Maximum number of other places that are named for an answer. */
const NAMED_PLACES = 3;

/** Returns an answer's place, and the other documents and pages or the number of its places. */
function describePlaces(answer, inCollection) {
  const own = place(answer, inCollection);
  const all = new Set(answer.places.map((one) => place(one, inCollection)));
  all.delete(own);
  const others = [...all].map((text) => text.replace(/^( · |, )/, ""));
  const count = answer.places.length;
  if (others.length === 0) {
    return own + (count > 1 ? `, ${count} places` : "");
  }
  return `${own}; also ${others.slice(0, NAMED_PLACES).join("; ")}${others.length > NAMED_PLACES ? "; …" : ""}`;
}

/** Returns the places of all answers as spans that do not overlap; those of better answers first. */
function spansOf(answers, isBest) {
  const spans = answers.map(({ start, end }, rank) => ({ start, end, best: isBest(rank) }));
  for (const { start, end } of answers.flatMap((answer) => answer.places)) {
    if (spans.every((span) => end <= span.start || span.end <= start)) {
      spans.push({ start, end, best: false });
    }
  }
  return spans;
}

/** Shows the answers in `text`, or in the documents of the collection if there is no text. */
function show(text, result) {
  const inCollection = text === null;
  const best = (rank) => rank === 0 && !result.no_answer;
  const percent = (share) => `${Math.round(100 * share)} %`;
  // Answers with the text of a better one are marked, but not listed again.
  const texts = result.answers.map((answer) => answer.text.trim().toLowerCase());
  const isFirst = (_, rank) => texts.indexOf(texts[rank]) === rank;
  at("answers").replaceChildren(...result.answers.filter(isFirst).map((answer, rank) => {
    const length = answer.end - answer.start;
    const span = { start: answer.start_in_sentence, end: answer.start_in_sentence + length, best: best(rank) };
    const item = element("li", "",
      element("div", "answer", answer.text),
      element("div", "place", percent(answer.total_probability) + describePlaces(answer, inCollection)),
      element("p", "sentence", ...marked(answer.sentence, [span])));
    item.dir = "auto";
    return item;
  }));
  at("whole").hidden = inCollection;
  at("marked").replaceChildren(...(inCollection ? [] : marked(text, spansOf(result.answers, best))));
  at("found").hidden = false;
  // Only the box with the text is scrolled, so that the list of answers stays in view.
  const [box, mark] = [at("marked"), at("marked").querySelector("mark.best")];
  if (mark) {
    const offset = mark.getBoundingClientRect().top - box.getBoundingClientRect().top;
    box.scrollTop += offset - box.clientHeight / 3;
  }
  const none = result.no_answer || result.answers.length === 0;
  setState(none ? `No answer (${percent(result.null_probability)}).` : "");
}

async function ask() {
  const question = at("question").value;
  // The text may be empty only if the service has a collection.
  const text = at("text").required || at("text").value.trim() ? at("text").value : null;
  at("go").disabled = true;
  clearAnswers();
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

/** Puts the text of a file into the text field. */
async function open(file) {
  clearAnswers();
  setState(`Reading ${file.name} …`);
  try {
    const response = await fetch(`text?name=${encodeURIComponent(file.name)}`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: file,
    });
    const reply = await response.json();
    if (response.ok) {
      at("text").value = reply.text;
      setState(reply.warnings.join(" "), reply.warnings.length > 0);
    } else {
      setState(reply.error.message, true);
    }
  } catch {
    setState("No response from the service.", true);
  }
}

at("file").addEventListener("change", () => {
  const [file] = at("file").files;
  if (file) {
    open(file);
  }
});

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
