import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The gateway that `npm run dev` talks to. */
const gateway = process.env["NPC_GATEWAY"] ?? "http://127.0.0.1:7777";
const proxied = {
  target: gateway,
  changeOrigin: true,
  // The gateway lets in its own pages alone; here this server stands between.
  headers: { origin: gateway },
};

export default defineConfig({
  // Wherever the gateway is reached, also below a path of a proxy.
  base: "./",
  resolve: {
    alias: {
      "npc-gateway-client": at("../typescript/src/index.ts"),
      "@msgpack/msgpack": at("node_modules/@msgpack/msgpack"),
      "@spectral": at("node_modules/@fontsource/spectral/files"),
    },
  },
  build: {
    target: "es2022",
    // The page's policy has no room for anything that is not a file.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        // The same names whatever is in them: the build lies in the repository, and the server tells when it is new.
        entryFileNames: "assets/console.js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
  // The worker that draws: a file of its own, as the policy wants it.
  worker: {
    format: "es",
    rolldownOptions: { output: { entryFileNames: "assets/[name].js", chunkFileNames: "assets/[name].js" } },
  },
  server: {
    host: "127.0.0.1",
    fs: { allow: [at("."), at("../typescript/src")] },
    proxy: { "/api": proxied, "/ws": { ...proxied, ws: true } },
  },
});
