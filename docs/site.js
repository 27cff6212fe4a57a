// The theme gives each block of code a landmark without a name: here is one. Tables that scroll are reached by keyboard.
const named = () => {
  document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((nav) => {
    nav.setAttribute("aria-label", `code block ${1 + [...document.querySelectorAll(".md-code__nav")].indexOf(nav)}`);
  });
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((box) => box.setAttribute("tabindex", "0"));
};
new MutationObserver(named).observe(document.documentElement, { childList: true, subtree: true });
named();
