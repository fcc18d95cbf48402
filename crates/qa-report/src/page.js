"use strict";
(() => {
  const container = document.getElementById("questions");
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  // Saved figures are dark on white in any colour scheme.
  for (const svg of document.querySelectorAll("figure svg")) {
    const button = make("button", { class: "save", type: "button" }, "Save as SVG");
    button.addEventListener("click", () => {
      const copy = svg.cloneNode(true);
      copy.setAttribute("color", "#1b1f24");
      const background = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [key, value] of [["width", "100%"], ["height", "100%"], ["fill", "#fff"]])
        background.setAttribute(key, value);
      copy.insertBefore(background, copy.firstElementChild.nextSibling);
      const text = new XMLSerializer().serializeToString(copy);
      const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
      make("a", { href: address, download: svg.dataset.name + ".svg" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
    });
    svg.closest("figure").append(button);
  }
  // Boxes with hidden content fade at the edge.
  const fade = (box) => {
    box.classList.toggle("above", box.scrollTop > 1);
    box.classList.toggle("below", box.scrollTop + box.clientHeight < box.scrollHeight - 1);
    box.classList.toggle("right", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  };
  // A context shows the lines around the answer; a button shows all lines.
  const fit = (box) => {
    const mark = box.querySelector("mark.gold") || box.querySelector("mark");
    const line = parseFloat(getComputedStyle(box).lineHeight);
    if (mark) box.scrollTop = Math.max(0, Math.floor(mark.offsetTop / line) - 2) * line;
    if (box.scrollHeight > box.clientHeight + 1 && !box.nextElementSibling.matches("button")) {
      const button = make("button", { class: "save", type: "button" }, "Show all");
      button.addEventListener("click", () => {
        button.textContent = box.classList.toggle("open") ? "Show less" : "Show all";
      });
      box.after(button);
    }
  };
  const sizes = new ResizeObserver((changed) => {
    for (const { target } of changed) {
      if (target.matches(".context")) fit(target);
      fade(target);
    }
  });
  for (const box of document.querySelectorAll(".wide")) {
    sizes.observe(box);
    box.addEventListener("scroll", () => fade(box));
  }
  if (!container) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 20;
  // Control characters, and characters that embed, override or isolate a text direction, are shown
  // as code points.
  const CONTROL = /([\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069])/u;
  const texts = (text) => text.split(CONTROL).filter((part) => part !== "").map((part) =>
    CONTROL.test(part) && part.length === 1
      ? make("span", { class: "control" }, "U+" + part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0"))
      : part);
  // The direction is that of most letters, so that a foreign name at the start has no effect.
  const RIGHT_TO_LEFT = /[\p{sc=Adlm}\p{sc=Arab}\p{sc=Hebr}\p{sc=Nkoo}\p{sc=Syrc}\p{sc=Thaa}]/gu;
  const count = (text, letters) => (text.match(letters) || []).length;
  const direction = (text) =>
    2 * count(text, RIGHT_TO_LEFT) > count(text, /\p{L}/gu) ? "rtl" : "ltr";
  // Answers have the direction of their context, so that ranges of numbers look the same.
  const bdi = (text, lang, dir) => make("bdi", { dir, lang }, ...texts(text));

  // Marks the gold answers and the run's answer in a context.
  const marked = (text, gold, answer) => {
    const spans = gold.map(([at, length]) => [at, at + length, "gold"]);
    if (answer) spans.push([answer[0], answer[0] + answer[1], "pred"]);
    const cuts = [...new Set([0, text.length, ...spans.flatMap(([from, to]) => [from, to])])];
    cuts.sort((a, b) => a - b);
    const parts = [];
    for (let k = 0; k + 1 < cuts.length; k += 1) {
      const [from, to] = [cuts[k], cuts[k + 1]];
      const classes = spans.filter((one) => one[0] <= from && one[1] >= to).map((one) => one[2]);
      const inside = texts(text.slice(from, to));
      if (classes.length === 0) parts.push(...inside);
      else parts.push(make("mark", { class: [...new Set(classes)].join(" ") }, ...inside));
    }
    return parts;
  };

  const outcomes = [
    ["wrong", "not exact", (answer) => !answer.em],
    ["all", "all", () => true],
    ["none", "F1 is 0", (answer) => answer.f1 === 0],
    ["part", "partly correct", (answer) => !answer.em && answer.f1 > 0],
    ["right", "exact", (answer) => answer.em],
    ["unanswered", "without an answer", (answer) => !answer.text],
  ];
  const noSpan = (answer) => (answer.text || "").trim() !== "" && answer.at === null;
  if (data.items.some((item) => item.answers.some((answer) => answer && noSpan(answer))))
    outcomes.push(["no-span", "not a span", noSpan]);
  if (data.runs.length > 1) {
    const first = (item) => item.answers[0];
    const than = " than " + data.runs[0];
    outcomes.push(["better", "better" + than, (a, item) => first(item) && a.f1 > first(item).f1]);
    outcomes.push(["worse", "worse" + than, (a, item) => first(item) && a.f1 < first(item).f1]);
  }
  const orders = [["file", "as in the file"], ["low", "lowest F1 first"], ["high", "highest F1 first"]];

  const state = {
    run: String(data.runs.length - 1), pair: "", outcome: "wrong", class: "", text: "",
    order: "file", page: "0",
  };
  const address = () => {
    if (!location.hash.startsWith("#browse?")) return;
    for (const [key, value] of new URLSearchParams(location.hash.slice(8)))
      if (key in state) state[key] = value;
  };
  address();

  const controls = {};
  const select = (key, name, choices) => {
    const control = make("select", {});
    for (const [value, text] of choices) control.append(make("option", { value }, ...texts(text)));
    control.value = state[key];
    if (control.selectedIndex < 0) { control.selectedIndex = 0; state[key] = control.value; }
    control.addEventListener("input", () => { state[key] = control.value; state.page = "0"; show(true); });
    controls[key] = control;
    return make("label", {}, name, control);
  };
  const indexed = (all) => all.map((name, at) => [String(at), name]);
  const filters = make("form", { class: "filters" });
  filters.addEventListener("submit", (event) => event.preventDefault());
  if (data.runs.length > 1) filters.append(select("run", "run", indexed(data.runs)));
  if (data.pairs.length > 1)
    filters.append(select("pair", "context–question",
      [["", "all"], ...indexed(data.pairs.map((pair) => pair.label))]));
  filters.append(select("outcome", "answer", outcomes.map(([key, name]) => [key, name])));
  filters.append(select("class", "boundaries", [["", "all"], ...indexed(data.classes)]));
  filters.append(select("order", "order", orders));
  const search = make("input", { type: "search", dir: "auto" });
  search.value = state.text;
  search.addEventListener("input", () => { state.text = search.value; state.page = "0"; show(true); });
  filters.append(make("label", {}, "contains", search));

  const pagers = [0, 1].map(() => {
    const before = make("button", { type: "button" }, "← previous");
    const after = make("button", { type: "button" }, "next →");
    const count = make("span", { class: "soft" });
    const go = (step) => { state.page = String(Number(state.page) + step); show(true); filters.scrollIntoView(); };
    before.addEventListener("click", () => go(-1));
    after.addEventListener("click", () => go(1));
    return { before, after, count, box: make("div", { class: "pager" }, before, after, count) };
  });
  const list = make("div");
  container.append(filters, pagers[0].box, list, pagers[1].box);

  const article = (item) => {
    const pair = data.pairs[item.pair];
    const selected = item.answers[Number(state.run)];
    const header = make("header", {}, make("span", {}, pair.label), make("span", {}, ...texts(item.id)));
    const goldSpans = item.gold.map(([at]) => at).filter((at) => at !== null);
    const contextText = data.contexts[item.context];
    const dir = direction(contextText);
    const context = make("p", { class: "context", dir, lang: pair.context },
      ...marked(contextText, goldSpans, selected && selected.at));
    sizes.observe(context);
    const rows = make("tbody");
    const golds = item.gold.flatMap(([, text], at) =>
      at ? [" · ", bdi(text, pair.context, dir)] : [bdi(text, pair.context, dir)]);
    rows.append(make("tr", {}, make("th", { scope: "row" }, "gold"), make("td", { class: "answer", colspan: "3" }, ...golds)));
    item.answers.forEach((answer, run) => {
      if (answer === null) return;
      const text = answer.text === null
        ? "no prediction" : answer.text === "" ? "no answer" : null;
      const content = text ? make("span", { class: "soft" }, text) : bdi(answer.text, pair.context, dir);
      const cell = make("td", { class: "answer" }, content);
      const same = (form) => item.gold.some(([, gold]) => form(gold) === form(answer.text || ""));
      if (!answer.em && same((form) => form.normalize("NFC")) && !same((form) => form))
        cell.append(make("span", { class: "soft" }, " (the same letters in another Unicode form)"));
      if (answer.length)
        cell.append(make("span", { class: "soft" }, `… (${answer.length.toLocaleString("en")} characters in all)`));
      if (answer.n_best) {
        const others = answer.n_best.map(([other, p]) =>
          make("li", {}, bdi(other, pair.context, dir), ` ${(100 * p).toFixed(1)}\u00a0%`));
        cell.append(make("details", {},
          make("summary", {}, "n-best"), make("ol", {}, ...others)));
      }
      rows.append(make("tr", {},
        make("th", { scope: "row" }, make("bdi", {}, ...texts(data.runs[run]))), cell,
        make("td", { class: "class" },
          noSpan(answer) ? "not a span" : answer.class === null ? "" : data.classes[answer.class]),
        make("td", { class: "number " + (answer.em ? "exact" : "wrong") }, "F1 " + answer.f1.toFixed(1))));
    });
    return make("article", { "data-id": item.id }, header,
      make("p", { class: "question", dir: "auto", lang: pair.question }, ...texts(item.question)),
      context, make("div", { class: "wide" }, make("table", {}, rows)));
  };

  const show = (remember) => {
    const run = Number(state.run);
    const test = (outcomes.find(([key]) => key === state.outcome) || outcomes[1])[2];
    const query = state.text.toLowerCase();
    const holds = (text) => text.toLowerCase().includes(query);
    const found = data.items.filter((item) => {
      const selected = item.answers[run];
      return selected && (state.pair === "" || item.pair === Number(state.pair)) && test(selected, item)
        && (state.class === "" || selected.class === Number(state.class))
        && (query === "" || holds(item.id) || holds(item.question) || holds(selected.text || "")
          || holds(data.contexts[item.context]) || item.gold.some(([, text]) => holds(text)));
    });
    const f1 = (item) => item.answers[run].f1;
    if (state.order === "low") found.sort((a, b) => f1(a) - f1(b));
    if (state.order === "high") found.sort((a, b) => f1(b) - f1(a));
    const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    const page = Math.min(Math.max(0, Number(state.page) || 0), last);
    state.page = String(page);
    const shown = found.slice(page * PAGE, (page + 1) * PAGE);
    for (const pager of pagers) {
      pager.before.disabled = page === 0;
      pager.after.disabled = page === last;
      pager.count.textContent = found.length === 0 ? "no question"
        : `${page * PAGE + 1}–${page * PAGE + shown.length} of ${found.length}`;
    }
    list.replaceChildren(...shown.map(article));
    container.dataset.found = String(found.length);
    if (remember) {
      const set = Object.entries(state).filter(([, value]) => value !== "");
      history.replaceState(null, "", "#browse?" + new URLSearchParams(set));
    }
  };
  addEventListener("hashchange", () => {
    address();
    for (const [key, control] of Object.entries(controls)) control.value = state[key];
    search.value = state.text;
    show(false);
  });
  show(false);
  if (location.hash.startsWith("#browse?")) container.scrollIntoView();
})();
