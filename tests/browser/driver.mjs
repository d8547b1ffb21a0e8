// Drives one Chromium for the tests: a JSON object a line in, {"result"} or {"error"} a line out, in order.
import { chromium } from 'playwright-core';
import { createInterface } from 'node:readline';

let browser, context, page, devtools, seen;

function watch() {
  seen = { console: [], requests: [], answers: [] };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.console.push(message.text());
  });
  page.on('pageerror', (error) => seen.console.push(String(error)));
  page.on('request', (request) => seen.requests.push(request.url()));
  page.on('response', (response) => seen.answers.push(`${response.status()} ${new URL(response.url()).pathname}`));
}

// Unlike playwright's, it does not count as the viewer's gesture, without which there is no sound.
async function evaluate(expression) {
  const answer = await devtools.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
  if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text);
  return answer.result.value;
}

const methods = {
  async start(executable) {
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
    page = await context.newPage();
    devtools = await context.newCDPSession(page);
    watch();
    const answer = await page.goto(url);
    return answer.status();
  },
  evaluate,
  // The first true value of the expression. (playwright's waitForFunction has the page itself evaluate text, which its
  // policy forbids, as it should.)
  async waitFor(expression, timeout) {
    for (const end = Date.now() + timeout; ; await page.waitForTimeout(50)) {
      const value = await evaluate(expression);
      if (value) return value;
      if (Date.now() > end) throw new Error(`last seen: ${JSON.stringify(value)}`);
    }
  },
  press: (key) => page.keyboard.press(key),
  click: (selector) => page.click(selector),
  choose: (selector, label) => page.selectOption(selector, { label }),
  screenshot: (path) => page.screenshot({ path }),
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
