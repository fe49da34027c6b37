// A surface through scattered points, for contours.

export interface Field {
  width: number;
  height: number;
  /** Row by row, from the least y. */
  values: number[];
}

/** Inverse distance weighting over the unit square; exact at the points. */
export function interpolate(points: readonly { x: number; y: number; z: number }[], width: number, height: number): Field {
  const values: number[] = [];
  for (let row = 0; row < height; row++) {
    for (let col = 0; col < width; col++) {
      const x = width > 1 ? col / (width - 1) : 0;
      const y = height > 1 ? row / (height - 1) : 0;
      let sum = 0;
      let mass = 0;
      let exact: number | null = null;
      for (const point of points) {
        const away = (point.x - x) ** 2 + (point.y - y) ** 2;
        if (away < 1e-9) {
          exact = point.z;
          break;
        }
        const weight = 1 / away ** 1.5;
        sum += weight * point.z;
        mass += weight;
      }
      values.push(exact ?? (mass > 0 ? sum / mass : NaN));
    }
  }
  return { width, height, values };
}

/** Whether values of this span read better on a logarithmic axis. */
export function wantsLog(values: readonly number[]): boolean {
  const positive = values.filter((value) => value > 0);
  if (positive.length !== values.length || positive.length < 3) return false;
  const low = positive.reduce((a, b) => Math.min(a, b), Infinity);
  const high = positive.reduce((a, b) => Math.max(a, b), -Infinity);
  return high / low > 200;
}
