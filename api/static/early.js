// Before the first paint: the chosen theme and language, whose words are asked for at once.
// A classic script, so that it holds the paint; nothing else here.
(function () {
  var settings = {};
  try {
    settings = JSON.parse(localStorage.getItem("parley.settings")) || {};
  } catch (error) {
    // storage is closed to us, or holds what is not ours
  }
  var root = document.documentElement;
  var lang = settings.lang || (/^ar\b/.test(navigator.language) ? "ar" : "en");
  root.lang = lang;
  root.dir = lang === "ar" ? "rtl" : "ltr";
  var words = document.createElement("link");
  words.rel = "modulepreload";
  words.href = "/static/strings." + lang + ".js";
  document.head.append(words);
  if (settings.theme === "light" || settings.theme === "dark") root.dataset.theme = settings.theme;
})();
