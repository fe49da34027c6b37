// Shows one page that a run logged, in an origin of its own: this document is sandboxed by its own policy and by the
// frame it stands in, and can reach neither the app nor the network. Its scripts run only when somebody asked for it.
addEventListener("message", function show(event) {
  if (event.source !== parent || typeof event.data !== "object" || typeof event.data.html !== "string") return;
  removeEventListener("message", show);
  var html = event.data.html;
  if (!event.data.scripts) {
    // The policy has to stand before everything that it is about; a second head is merged into the first.
    html = "<!doctype html><meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'none'\">" + html.replace(/^\s*<!doctype[^>]*>/i, "");
  }
  document.open();
  document.write(html);
  document.close();
});
parent.postMessage("ready", "*");
