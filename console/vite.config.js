import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The page is served by the API: one origin, a strict Content-Security-Policy, files named by a hash of their content.
export default defineConfig({
  plugins: [svelte({ compilerOptions: { runes: true } })],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  // The built files under the policy that the API serves them with.
  preview: {
    headers: {
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    },
  },
  server: {
    strictPort: true,
    proxy: {
      '/v1': { target: process.env.API_URL ?? 'http://127.0.0.1:8080' },
      '/openapi.json': { target: process.env.API_URL ?? 'http://127.0.0.1:8080' },
    },
  },
});
