"use strict";
// Loaded in <head>, so that the page is never painted in the wrong colours.
(function () {
  const limbeck = (window.limbeck = {});
  const ORDER = ["auto", "light", "dark"];
  let kept = null;
  try {
    kept = localStorage.getItem("limbeck-theme");
  } catch {
    // storage is blocked: the choice lasts as long as the page
  }
  let theme = ORDER.includes(kept) ? kept : "auto";

  function apply() {
    document.documentElement.dataset.theme = theme;
  }

  limbeck.theme = {
    get: () => theme,
    next() {
      theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      try {
        localStorage.setItem("limbeck-theme", theme);
      } catch {
        // as above
      }
      apply();
      return theme;
    },
  };
  apply();
})();
