// The list of runs: tick all, and how many are ticked.
export function start() {
  const form = document.querySelector("[data-chosen]");
  const said = form.querySelector("[data-ticked]");
  const boxes = () => [...form.querySelectorAll("input[name=run]")];
  const count = () => {
    const ticked = boxes().filter((box) => box.checked).length;
    said.textContent = ticked ? `${ticked} ticked` : "";
    for (const button of form.querySelectorAll("button[formaction]")) button.disabled = !ticked;
    const all = form.querySelector("[data-all]");
    if (all) {
      all.checked = ticked > 0 && ticked === boxes().length;
      all.indeterminate = ticked > 0 && !all.checked;
    }
  };
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) for (const box of boxes()) box.checked = event.target.checked;
    count();
  });
  document.addEventListener("refreshed", count);
  window.addEventListener("pageshow", count);
  count();
}
