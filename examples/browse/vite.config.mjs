// Static files that can lie anywhere, in a folder of a host too: all addresses in them are relative.
// `BROWSE_BUCKETS="https://data.example.org" vite build` narrows what the page may connect to.

import { defineConfig } from "vite";
import { ANY_BUCKET, contentSecurityPolicy } from "./policy.mjs";

const buckets = process.env.BROWSE_BUCKETS?.split(/\s+/).filter(Boolean) ?? ANY_BUCKET;

/** The policy has to stand before all that it is for. The development server injects scripts that it would forbid. */
const policy = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    {
      tag: "meta",
      attrs: { "http-equiv": "Content-Security-Policy", content: contentSecurityPolicy(buckets) },
      injectTo: "head-prepend",
    },
  ],
};

export default defineConfig({
  base: "./",
  plugins: [policy],
  worker: { format: "es" },
  optimizeDeps: { exclude: ["@dreamlake/dreamdb"] },
  build: {
    outDir: "out/app",
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // data: addresses are not in the policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
  },
});
