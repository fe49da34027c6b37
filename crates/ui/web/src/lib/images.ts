// Images of runs, by key and step.

import { previewOf } from "./artifacts";

export interface ImageFile {
  path: string;
  key: string;
  step: number | null;
}

/** What MLflow's `log_image(key=…, step=…)` writes names the step; other images are their own key. */
export function imageOf(path: string): ImageFile | null {
  if (previewOf(path) !== "image" && previewOf(path) !== "svg") return null;
  const logged = /^(.*?)[%+]step[%+](-?\d+)[%+]timestamp[%+]/.exec(path);
  if (!logged) return { path, key: path, step: null };
  // Beside each image lies a smaller one, for lists.
  if (/[%+]compressed\.\w+$/.test(path)) return null;
  return { path, key: logged[1]!.replace(/#/g, "/"), step: Number(logged[2]) };
}

/** Of the images of one key, the one of a step: the last at or before it, else the first after it. */
export function atStep(files: readonly ImageFile[], step: number | null): ImageFile | null {
  const sorted = [...files].sort((a, b) => (a.step ?? 0) - (b.step ?? 0));
  if (step === null) return sorted.at(-1) ?? null;
  return sorted.findLast((file) => (file.step ?? 0) <= step) ?? sorted[0] ?? null;
}

/** Spearman's rank correlation; null where it says nothing. */
export function correlation(pairs: readonly (readonly [number, number])[]): number | null {
  if (pairs.length < 4) return null;
  const ranks = (values: number[]) => {
    const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
    const out = new Array<number>(values.length);
    for (let i = 0; i < order.length; ) {
      let j = i;
      while (j + 1 < order.length && values[order[j + 1]!] === values[order[i]!]) j++;
      for (let k = i; k <= j; k++) out[order[k]!] = (i + j) / 2;
      i = j + 1;
    }
    return out;
  };
  const x = ranks(pairs.map(([a]) => a));
  const y = ranks(pairs.map(([, b]) => b));
  const mean = (pairs.length - 1) / 2;
  let [xy, xx, yy] = [0, 0, 0];
  x.forEach((a, i) => {
    xy += (a - mean) * (y[i]! - mean);
    xx += (a - mean) ** 2;
    yy += (y[i]! - mean) ** 2;
  });
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : null;
}
