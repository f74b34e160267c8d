/// <reference types="vitest/config" />
// Build of the console. Output goes to dist/, which davy-ingest serves; nothing is fetched from elsewhere.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The development server hands /api to the mock, or to a real davy-ingest named by DAVY_API.
const api = process.env['DAVY_API'] ?? 'http://127.0.0.1:8188';

export default defineConfig({
  plugins: [svelte()],
  // Browsers on government desks are Chromium 90 to 93; Vite's own default would ask for 111.
  build: {
    target: ['chrome87', 'firefox83', 'safari14'],
    assetsInlineLimit: 0,
    license: { fileName: 'licences.md' },
    reportCompressedSize: true,
  },
  // A classic worker script: module workers are missing in the oldest supported Firefox.
  worker: { format: 'iife' },
  server: { host: '127.0.0.1', port: 5188, proxy: { '/api': { target: api, changeOrigin: false } } },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
});
