import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const browsers = ["chrome123", "firefox121", "safari17.5"];

export default defineConfig({
  plugins: [react()],
  build: {
    target: browsers,
    cssTarget: browsers,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1200,
    reportCompressedSize: false,
  },
  worker: { format: "es" },
  test: { include: ["src/**/*.test.{ts,tsx}"], environment: "node" },
});
