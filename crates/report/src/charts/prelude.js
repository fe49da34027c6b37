// What Vega expects of a browser, in an engine that has nothing of it; and a world that is the same everywhere: times in
// UTC, chance from a seed.
"use strict";
(() => {
  const quiet = () => {};
  globalThis.self = globalThis;
  globalThis.console = { log: quiet, warn: quiet, error: quiet, info: quiet, debug: quiet };
  globalThis.setTimeout = (run) => {
    Promise.resolve().then(run);
    return 0;
  };
  globalThis.clearTimeout = quiet;
  const copy = (value) => JSON.parse(JSON.stringify(value));
  globalThis.structuredClone ??= (value) => (value === undefined ? undefined : copy(value));

  const Plain = Date;
  class Utc extends Plain {
    constructor(...parts) {
      if (parts.length > 1) super(Plain.UTC(...parts));
      else if (parts.length === 1) super(parts[0]);
      else super();
    }
    getTimezoneOffset() {
      return 0;
    }
  }
  for (const part of ["FullYear", "Month", "Date", "Hours", "Minutes", "Seconds", "Milliseconds"]) {
    for (const way of ["get", "set"]) {
      Utc.prototype[way + part] = Plain.prototype[`${way}UTC${part}`];
    }
  }
  Utc.prototype.getDay = Plain.prototype.getUTCDay;
  globalThis.Date = Utc;

  let state = 0x2545f491;
  Math.random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
})();
