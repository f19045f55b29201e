// Keeps the list fresh: asks for the parts that change every 5 s, puts them in when they did, and rests while hidden.
// Without it the page reloads itself by a meta tag.
(function () {
  "use strict";
  var live = document.getElementById("live");
  var stale = document.getElementById("stale");
  var said = document.getElementById("said");
  if (!live || !window.fetch || !window.DOMParser) { return; }
  var etag = '"' + live.getAttribute("data-etag") + '"';
  var timer = null;

  function sentence() {
    var banner = document.getElementById("banner");
    return banner ? banner.textContent.trim() : "";
  }

  function put(html) {
    var before = sentence();
    var focused = document.activeElement && document.activeElement.id;
    var fresh = new DOMParser().parseFromString(html, "text/html");
    Array.prototype.forEach.call(fresh.querySelectorAll("[data-part]"), function (part) {
      var old = live.querySelector('[data-part="' + part.getAttribute("data-part") + '"]');
      if (!old || old.innerHTML === part.innerHTML) { return; }
      var unfolded = old.querySelector("details[open]") !== null;
      old.innerHTML = part.innerHTML;
      var fold = old.querySelector("details");
      if (fold) { fold.open = unfolded; }
    });
    var again = focused && document.getElementById(focused);
    if (again && again !== document.activeElement) { again.focus({ preventScroll: true }); }
    if (sentence() !== before) { said.textContent = sentence(); }
  }

  function poll() {
    timer = null;
    if (document.hidden) { return; }
    fetch(live.getAttribute("data-url"), {
      headers: { "If-None-Match": etag }, credentials: "same-origin", cache: "no-store"
    }).then(function (answer) {
      if (answer.status === 401) { window.location.reload(); }
      if (answer.status !== 200 && answer.status !== 304) { throw new Error("status " + answer.status); }
      stale.hidden = true;
      if (answer.status === 304) { return null; }
      etag = answer.headers.get("ETag");
      return answer.text().then(put);
    }).catch(function () { stale.hidden = false; }).then(again);
  }

  function again() {
    if (timer === null && !document.hidden) { timer = window.setTimeout(poll, 5000); }
  }

  document.addEventListener("visibilitychange", function () {
    if (!document.hidden && timer === null) { poll(); }
  });
  again();
}());
