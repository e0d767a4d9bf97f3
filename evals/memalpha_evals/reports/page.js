"use strict";
const selects = [...document.querySelectorAll("select[data-filter]")];
function apply() {
  const wanted = Object.fromEntries(selects.map((each) => [each.dataset.filter, each.value]));
  const fits = (element, name) => wanted[name] === "all" || element.dataset[name] === wanted[name];
  for (const article of document.querySelectorAll("article")) {
    let shown = 0;
    for (const answer of article.querySelectorAll(".answer")) {
      answer.hidden = !(fits(answer, "system") && fits(answer, "outcome"));
      shown += !answer.hidden;
    }
    article.hidden = !fits(article, "category") || shown === 0;
  }
}
for (const each of selects) each.addEventListener("change", apply);
