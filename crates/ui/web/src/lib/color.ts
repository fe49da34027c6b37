// A run has one colour everywhere: by its id, unless somebody chose another.

const PALETTE = [
  "#3b82d6", "#e0693e", "#2f9e6e", "#b658c4", "#d1a012", "#d6476b", "#1f9fb5", "#7a68e0",
  "#6f9c2c", "#c2623a", "#4467c9", "#a8427f", "#2b8f8f", "#8f7a25", "#d9749b", "#5c8fbf",
  "#8353b8", "#4ba64b", "#c98a3d", "#3f7f9e",
];

const KEY = "runlake.colors";
let chosen: Record<string, string> | null = null;

function overrides(): Record<string, string> {
  if (!chosen) {
    try {
      chosen = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Record<string, string>;
    } catch {
      chosen = {};
    }
  }
  return chosen;
}

export function hash(text: string): number {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) {
    h ^= text.charCodeAt(i);
    h = Math.imul(h, 16777619);
  }
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  h ^= h >>> 12;
  return h >>> 0;
}

export function colorOf(id: string): string {
  return overrides()[id] ?? PALETTE[hash(id) % PALETTE.length]!;
}

export function chooseColor(id: string, color: string): void {
  overrides()[id] = color;
  try {
    localStorage.setItem(KEY, JSON.stringify(overrides()));
  } catch {
    // Kept for this page only.
  }
}

export function paletteColor(i: number): string {
  return PALETTE[i % PALETTE.length]!;
}
