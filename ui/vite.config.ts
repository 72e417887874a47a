import { defineConfig } from 'vite'
import { svelte } from '@sveltejs/vite-plugin-svelte'

// In development the page comes from Vite and the API from a running site or
// from dev/mock.mjs: SLUICE_SERVER says where.
const server = process.env.SLUICE_SERVER ?? 'http://127.0.0.1:8421'

export default defineConfig({
  // Relative addresses: the page works behind a proxy that adds a path.
  base: './',
  plugins: [svelte()],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // Nothing becomes a data: address, so that the server's content security
    // policy can allow its own files only.
    assetsInlineLimit: 0,
  },
  server: {
    proxy: {
      '/api': {
        target: server,
        changeOrigin: true,
        // The site refuses requests from pages of another origin, as Vite's is.
        configure: (proxy) => proxy.on('proxyReq', (r) => r.removeHeader('origin')),
      },
    },
  },
})
