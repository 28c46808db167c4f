import { defineConfig } from "vite";

// Each page is an entry of its own; the daemon serves all files flat below /assets/.
export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["admin.html", "login.html"] },
  },
});
