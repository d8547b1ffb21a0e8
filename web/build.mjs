// Bundles the pages into build/web. No address outside of Weir is in what comes out.
import { build } from 'esbuild';
import { copyFile, mkdir } from 'node:fs/promises';

const out = new URL('../build/web/', import.meta.url).pathname;
await mkdir(out, { recursive: true });

await build({
  entryPoints: ['src/watch.js', 'src/watch.css'],
  outdir: out,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['chrome109', 'firefox115', 'safari15'],
  legalComments: 'eof',
  logLevel: 'warning',
});
await copyFile('src/watch.html', out + 'watch.html');
await copyFile('node_modules/hls.js/dist/hls.worker.js', out + 'hls.worker.js');
