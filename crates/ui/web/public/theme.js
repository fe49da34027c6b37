// Before the first paint, so that a chosen theme never flashes.
try {
  var theme = localStorage.getItem("runlake.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch (_) {
  // Storage may be forbidden: the system's theme it is.
}
