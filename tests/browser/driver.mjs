// Drives one Chromium for the tests: a JSON object a line in, {"result"} or {"error"} a line out, in order.
import { chromium } from 'playwright-core';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

let executable, browser, context, page, devtools, seen, killable;

function watch() {
  seen = { console: [], requests: [], answers: [] };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.console.push(message.text());
  });
  page.on('pageerror', (error) => seen.console.push(String(error)));
  page.on('request', (request) => seen.requests.push(request.url()));
  page.on('response', (response) => seen.answers.push(`${response.status()} ${new URL(response.url()).pathname}`));
}

async function use(newPage) {
  page = newPage;
  page.on('dialog', (dialog) => dialog.accept().catch(() => {})); // leaving with an upload under way is asked about
  page.on('filechooser', () => {}); // from now on Chromium asks us, not the desktop
  devtools = await context.newCDPSession(page);
  watch();
}

// Unlike playwright's, it does not count as the viewer's gesture, without which there is no sound.
async function evaluate(expression) {
  const answer = await devtools.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
  if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text);
  return answer.result.value;
}

// A Chromium of its own with a profile that stays, which kill() ends as a crash would.
async function startKillable(profile) {
  killable = spawn(executable, ['--headless=new', '--no-sandbox', '--no-first-run', '--disable-quic',
    '--disable-background-networking', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'],
  { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  const address = await new Promise((resolve, reject) => {
    let said = '';
    killable.stderr.on('data', (data) => {
      said += data;
      const found = said.match(/DevTools listening on (\S+)/);
      if (found) resolve(found[1]);
    });
    killable.on('exit', () => reject(new Error(`chromium has ended: ${said}`)));
  });
  return chromium.connectOverCDP(address);
}

const methods = {
  async start(path) {
    executable = path;
    browser = await chromium.launch({
      executablePath: executable,
      args: ['--autoplay-policy=document-user-activation-required'],
    });
    return browser.version();
  },
  // A new page in a context of its own; what it loads and says is remembered.
  async open(url, options) {
    await context?.close();
    context = await browser.newContext(options);
    await use(await context.newPage());
    const answer = await page.goto(url);
    return answer.status();
  },
  // The same in a browser that kill() can end; `profile` is a folder.
  async openKillable(url, profile) {
    await context?.close();
    const own = await startKillable(profile);
    [context] = own.contexts();
    await use(context.pages()[0] ?? (await context.newPage()));
    await page.goto(url);
  },
  async kill() {
    const ended = new Promise((resolve) => killable.on('exit', resolve));
    process.kill(-killable.pid, 'SIGKILL');
    await ended;
    context = killable = undefined;
  },
  // Another page of the same context; the one before goes on by itself.
  async openTab(url) {
    await use(await context.newPage());
    await page.goto(url);
  },
  pages: () => context.pages().map((one) => one.url()),
  async backToFirstTab() {
    page = context.pages()[0];
    devtools = await context.newCDPSession(page);
  },
  async reload() {
    await page.reload();
  },
  // Ends the page, which would go on asking; what was seen stays.
  async leave() {
    await context?.close();
    context = undefined;
  },
  evaluate,
  // The first true value of the expression; what it throws while the page changes counts as false. (playwright's
  // waitForFunction has the page itself evaluate text, which its policy forbids, as it should.)
  async waitFor(expression, timeout) {
    for (const end = Date.now() + timeout; ; await page.waitForTimeout(50)) {
      const seen = await evaluate(expression).then((value) => ({ value }), (error) => ({ error: String(error) }));
      if (seen.value) return seen.value;
      if (Date.now() > end) throw new Error(`last seen: ${JSON.stringify(seen)}`);
    }
  },
  press: (key) => page.keyboard.press(key),
  click: (selector) => page.click(selector),
  type: (text) => page.keyboard.type(text),
  setFiles: (selector, paths) => page.setInputFiles(selector, paths),
  // Answers the dialog that a key on the focused element, or a click, opens.
  async answerChooser(paths, { key, selector }) {
    const chooser = page.waitForEvent('filechooser', { timeout: 10000 });
    await (key ? page.keyboard.press(key) : page.click(selector));
    await (await chooser).setFiles(paths);
  },
  // From the desktop onto a point of the page: one event at a time, as the mouse gives them.
  async dragFiles(paths, x, y, types) {
    const data = { items: [], files: paths, dragOperationsMask: 1 };
    for (const type of types) await devtools.send('Input.dispatchDragEvent', { type, x, y, data });
  },
  // Bytes per second, 0: no limit.
  async network({ offline = false, up = 0 }) {
    await devtools.send('Network.enable');
    await devtools.send('Network.emulateNetworkConditions',
      { offline, latency: 0, downloadThroughput: -1, uploadThroughput: up || -1 });
  },
  choose: (selector, label) => page.selectOption(selector, { label }),
  screenshot: (path, whole) => page.screenshot({ path, fullPage: Boolean(whole) }),
  // What axe finds wrong: rules and the elements that break them.
  async axe() {
    await evaluate(await readFile(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8') + ';0');
    return evaluate(`axe.run().then(({ violations }) =>
      violations.map(({ id, nodes }) => \`\${id}: \${nodes.map(({ target }) => target).join(' | ')}\`))`);
  },
  aria: () => page.locator('body').ariaSnapshot(),
  seen: () => seen,
  stop: () => browser?.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { method, args } = JSON.parse(line);
  let answer;
  try {
    answer = { result: (await methods[method](...args)) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
  if (method === 'stop') process.exit(0);
}
