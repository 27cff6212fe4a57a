// The theme gives each block of code a landmark without a name: here is one.
const named = () => document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((nav) => {
  nav.setAttribute("aria-label", `code block ${1 + [...document.querySelectorAll(".md-code__nav")].indexOf(nav)}`);
});
new MutationObserver(named).observe(document.documentElement, { childList: true, subtree: true });
named();
