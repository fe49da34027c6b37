// draw(text) gives the SVG of a Vega-Lite specification.
"use strict";
(() => {
  // There is no canvas to measure text with: widths by kinds of letters come close to what sans-serif fonts have.
  const width = (text) => {
    let sum = 0;
    for (const letter of text) {
      if ("iljtfr.,:;|!'()[]I ".includes(letter)) sum += 0.3;
      else if ("mwMW@%".includes(letter)) sum += 0.87;
      else if (letter >= "A" && letter <= "Z") sum += 0.68;
      else if (letter > "\u2e80") sum += 1;
      else sum += 0.56;
    }
    return sum;
  };
  vega.textMetrics.width = (item, text) => {
    const size = item.fontSize != null ? +item.fontSize || 0 : 11;
    return width(String(text ?? item.text ?? "")) * size;
  };

  const ink = "currentColor";
  const axis = { labelColor: ink, titleColor: ink, domainColor: ink, tickColor: ink, gridColor: ink, gridOpacity: 0.15,
    domainOpacity: 0.5, tickOpacity: 0.5, labelLimit: 260, titleFontWeight: 500 };
  const defaults = {
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis,
    legend: { labelColor: ink, titleColor: ink, labelLimit: 260, titleFontWeight: 500 },
    title: { color: ink, subtitleColor: ink, anchor: "start", fontWeight: 600 },
    header: { labelColor: ink, titleColor: ink },
    range: { category: ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#9d755d", "#ff9da6",
      "#8f8f8f"] },
  };
  const parts = ["facet", "repeat", "concat", "hconcat", "vconcat"];
  const isSingle = (spec) => {
    const encoding = spec.encoding ?? {};
    return !parts.some((part) => part in spec) && !["row", "column", "facet"].some((channel) => channel in encoding);
  };

  globalThis.draw = async (text) => {
    const spec = JSON.parse(text);
    const view = isSingle(spec) ? { stroke: null, continuousWidth: 640, continuousHeight: 320 } : { stroke: null };
    const complaints = [];
    const logger = { level: () => logger, info: () => logger, debug: () => logger,
      warn: () => logger,
      error: (...told) => { complaints.push(told.join(" ")); return logger; } };
    const compiled = vegaLite.compile(spec, { config: { ...defaults, view }, logger });
    const refuse = async (uri) => {
      complaints.push(`it asks for ${uri}, and a chart has no access to files, the network or links`);
      throw new Error("refused");
    };
    const loader = { load: refuse, sanitize: refuse, http: refuse, file: refuse };
    const drawn = new vega.View(vega.parse(compiled.spec), { renderer: "none", loader, logger });
    const svg = await drawn.toSVG();
    drawn.finalize();
    if (complaints.length > 0) throw new Error(complaints[0]);
    return svg;
  };
})();
