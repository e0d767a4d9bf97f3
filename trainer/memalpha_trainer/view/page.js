"use strict";
// Moves the focus between cells and tokens, and shows what is known of a token. Text is set as text only.
(() => {
  const bar = document.getElementById("token");
  const root = document.documentElement;
  const groups = [...document.querySelectorAll("section.group")];
  const rowsOf = (group) => [...group.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
  let group = 0, row = 0, column = 0, token = null;

  const tell = (element) => {
    const [id, logprob, trainer, difference] = element.dataset.t.split(" ");
    const theirs = trainer === undefined ? "trainer not on record" : `trainer ${trainer}, difference ${difference}`;
    bar.textContent = `${JSON.stringify(element.textContent)}  id ${id}, logprob ${logprob} (p ${Math.exp(logprob).toFixed(3)}), ${theirs}`;
  };
  const mark = (element) => {
    if (token) token.classList.remove("at");
    token = element;
    if (!element) return;
    element.classList.add("at");
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
    tell(element);
  };
  const focus = () => {
    const rows = rowsOf(groups[group]);
    row = Math.min(Math.max(row, 0), rows.length - 1);
    column = Math.min(Math.max(column, 0), rows[row].length - 1);
    mark(null);
    rows[row][column].focus();
  };
  const toGroup = (step) => {
    group = Math.min(Math.max(group + step, 0), groups.length - 1);
    row = 0;
    groups[group].scrollIntoView();
    focus();
  };
  const toToken = (step) => {
    const tokens = [...rowsOf(groups[group])[row][column].querySelectorAll("i")];
    const at = tokens.indexOf(token);
    if (tokens.length) mark(tokens[at < 0 ? 0 : Math.min(Math.max(at + step, 0), tokens.length - 1)]);
  };
  const open = () => {
    const folded = [...rowsOf(groups[group])[row][column].querySelectorAll("details")];
    const closed = folded.some((each) => !each.open);
    folded.forEach((each) => { each.open = closed; });
  };
  const theme = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  };
  const keys = {
    j: () => { row += 1; focus(); }, k: () => { row -= 1; focus(); },
    l: () => { column += 1; focus(); }, h: () => { column -= 1; focus(); },
    n: () => toGroup(1), p: () => toGroup(-1),
    ".": () => toToken(1), ",": () => toToken(-1),
    o: open, t: theme, d: () => document.body.classList.toggle("by-difference"),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !groups.length || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.addEventListener("mouseover", (event) => {
    if (event.target instanceof HTMLElement && event.target.dataset.t) tell(event.target);
  });
  document.addEventListener("focusin", (event) => {
    const cell = event.target instanceof Element ? event.target.closest("td") : null;
    if (!cell) return;
    group = groups.indexOf(cell.closest("section.group"));
    const rows = rowsOf(groups[group]);
    row = rows.findIndex((cells) => cells.includes(cell));
    column = rows[row].indexOf(cell);
  });
})();
