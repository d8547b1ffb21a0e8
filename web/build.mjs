// Bundles the pages into build/web, a folder for each. No address outside of Weir is in what comes out.
import { build } from 'esbuild';
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

const web = new URL('../build/web/', import.meta.url).pathname;

async function bundle(page) {
  const out = `${web}${page}/`;
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await build({
    entryPoints: [`src/${page}.js`, `src/${page}.css`],
    outdir: out,
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['chrome109', 'firefox115', 'safari15'],
    legalComments: 'eof',
    logLevel: 'warning',
  });
  await copyFile(`src/${page}.html`, `${out}${page}.html`);
  return out;
}

const watch = await bundle('watch');
await copyFile('node_modules/hls.js/dist/hls.worker.js', `${watch}hls.worker.js`);

// weir-play compresses what it sends; weir-api finds it done.
const upload = await bundle('upload');
for (const file of await readdir(upload)) {
  await writeFile(`${upload}${file}.gz`, gzipSync(await readFile(upload + file), { level: 9 }));
}
