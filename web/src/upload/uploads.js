// The list of uploads: those under way, those in line, and those from before that wait for their file.
import { $, announce, ask, notice } from './page.js';
import { fingerprint } from './fingerprint.js';
import { size } from './format.js';
import { Row } from './row.js';
import { Task } from './task.js';
import * as earlier from './earlier.js';
import * as tabs from './tabs.js';

const AT_ONCE = 3;
const SHOW_MS = 250;
const TITLE_MAX = 200;

// By fingerprint {row, task}, by the address of an earlier one {row, upload, known}.
const entries = new Map();
let stored; // called with the id of each video that has arrived
let listed; // called when something is in the list that was not

/* --- what others ask --- */

const tasks = () => [...entries.values()].filter(({ task }) => task).map(({ task }) => task);
const holdsPlace = ({ state }) => state === 'uploading' || state === 'waiting';

// Leaving the page would interrupt it.
const moves = (task) => holdsPlace(task) || task.state === 'queued';

export const busy = () => tasks().some(moves);

// Videos that stand in this list, so need not stand in another.
export const videos = () =>
  new Set([...entries.values()].map(({ task, upload }) => (task ? task.video : videoOf(upload.uploadUrl))));

const videoOf = (url) => url.split('/').pop().split('~')[0];

export function percent() {
  const moving = tasks().filter(moves);
  const whole = moving.reduce((sum, { file }) => sum + file.size, 0);
  return whole > 0 ? Math.floor((100 * moving.reduce((sum, { sent }) => sum + sent, 0)) / whole) : undefined;
}

/* --- the list on the page --- */

function enter(key, entry) {
  entries.set(key, entry);
  $('uploads-list').append(entry.row.element);
  $('uploads').hidden = false;
  listed();
}

// Where the focus was must not get lost with the line.
function leave(key) {
  const { element } = entries.get(key).row;
  const focused = element.contains(document.activeElement);
  const neighbour = element.nextElementSibling ?? element.previousElementSibling;

  entries.delete(key);
  element.remove();
  $('uploads').hidden = entries.size === 0;
  if (focused) (neighbour?.querySelector('button:not([hidden])') ?? $('file')).focus();
}

/* --- tasks --- */

// One that begins comes back here, by changed().
function fill() {
  const next = tasks().find(({ state }) => state === 'queued');
  if (next && tasks().filter(holdsPlace).length < AT_ONCE) next.begin();
}

const said = {
  done: ({ file }) => `${file.name} is uploaded.`,
  waiting: ({ file, why }) => `${file.name} waits: ${why}`,
  failed: ({ file, why }) => `The upload of ${file.name} stopped: ${why}`,
};

function changed(key, task) {
  const entry = entries.get(key);
  if (entry?.task !== task) return;
  const text = said[task.state]?.(task) ?? '';

  if (text !== entry.said && text !== '') announce(text); // the same reason again is no news
  if (task.state !== 'uploading') entry.said = text;
  entry.row.showTask(task);
  if (task.state === 'done' || task.state === 'cancelled') leave(key);
  if (task.state === 'done') stored(task.video);
  else listed(); // it may have its address now
  tabs.tell(tasks().filter(({ url, state }) => url && state !== 'failed').map(({ url }) => url));
  fill();
}

const acts = { uploading: 'pause', waiting: 'again', paused: 'again', failed: 'again' };

const askToCancel = (name) => ask(`Cancel the upload of ${name}? What has arrived is thrown away.`, 'Cancel it');

async function cancelTask(task) {
  const begun = task.url && task.sent > 0 && task.state !== 'failed';

  if (!begun || (await askToCancel(task.file.name))) await task.cancel();
}

function start(file, print, title, before) {
  const task = new Task(file, print, title, (now) => changed(print, now));
  const row = new Row(file.name, { act: () => task[acts[task.state]]?.(), cancel: () => cancelTask(task) });

  if (before) task.goOn(before);
  enter(print, { row, task });
  row.showTask(task);
}

/* --- from before --- */

async function cancelEarlier(upload) {
  if (!(await askToCancel(upload.metadata.filename))) return;
  leave(upload.uploadUrl);
  await earlier.terminate(upload.uploadUrl);
}

async function chosenFor(upload, file) {
  if ((await fingerprint(file)) === earlier.printOf(upload)) return add([file], '');
  const wanted = `${upload.metadata.filename} (${size(upload.size)})`;
  return notice(`That is another file. To go on with this upload choose ${wanted}, unchanged.`);
}

async function enterEarlier(upload) {
  const key = upload.uploadUrl;
  const known = await earlier.look(upload);
  const here = () => entries.has(key) || entries.has(earlier.printOf(upload)) || tabs.elsewhere(key);

  if (known.over) return earlier.forget(key);
  if (here()) return undefined;
  const row = new Row(upload.metadata.filename, {
    act: () => row.choose(),
    cancel: () => cancelEarlier(upload),
    chosen: (file) => chosenFor(upload, file),
  });
  enter(key, { row, upload, known });
  return row.showEarlier(upload, known);
}

// Brings the list in line with what this browser remembers and other tabs do.
async function recall() {
  const begun = await earlier.begun();
  const mine = new Set(tasks().map(({ url }) => url));
  const waiting = begun.filter(({ uploadUrl }) => !mine.has(uploadUrl) && !tabs.elsewhere(uploadUrl));
  const addresses = new Set(waiting.map(({ uploadUrl }) => uploadUrl));

  for (const [key, { upload }] of entries) if (upload && !addresses.has(key)) leave(key);
  await Promise.all(waiting.filter(({ uploadUrl }) => !entries.has(uploadUrl)).map(enterEarlier));
}

/* --- new ones --- */

async function take(file, title) {
  if (file.size === 0) return `${file.name} is empty.`;
  const print = await fingerprint(file).catch(() => null);
  if (!print) return `${file.name} can’t be read.`;
  const same = entries.get(print)?.task;
  if (same && same.state !== 'failed') return `${file.name} is in the list already.`;
  if (same) leave(print);
  const before = (await earlier.begun()).find((upload) => earlier.printOf(upload) === print);
  if (before && tabs.elsewhere(before.uploadUrl)) return `${file.name} is being uploaded in another tab.`;
  start(file, print, title, before);
  if (before && entries.has(before.uploadUrl)) leave(before.uploadUrl);
  return '';
}

const numbered = (title, number, of) => (title && of > 1 ? `${title.slice(0, TITLE_MAX - 8)} (${number})` : title);

export async function add(files, title) {
  const refusals = [];
  let taken = 0;

  for (const [at, file] of files.entries()) {
    const refusal = await take(file, numbered(title, at + 1, files.length));
    if (refusal) refusals.push(refusal);
    else taken += 1;
  }
  notice(refusals.join(' '));
  if (taken > 0) announce(taken === 1 ? `Uploading ${files[0].name}.` : `Uploading ${taken} files.`);
  fill();
}

/* --- the page's clock --- */

export function run(calls) {
  ({ stored, listed } = calls);
  tabs.listen(recall);
  addEventListener('storage', recall);
  addEventListener('online', () => tasks().forEach((task) => task.state === 'waiting' && task.again()));
  addEventListener('beforeunload', (event) => busy() && event.preventDefault());
  setInterval(() => {
    for (const { row, task } of entries.values()) if (task) row.showTask(task);
  }, SHOW_MS);
  recall();
}
