// The list of videos, newest first, kept up to date by asking again.
import { $, announce, ask, call, notice, put } from './page.js';
import { Card, nameOf, unfinished } from './card.js';

const PAGE = 24;
const LIMIT_MAX = 200; // of one answer
const SOON_MS = 1500; // while something is unfinished
const LATER_MS = 15000;
const HIDDEN_MS = 60000; // nobody looks
const RETRY_MAX_MS = 30000;

const cards = new Map(); // id → card
const ours = new Set(); // videos that came from this page: their end is news
let wanted = PAGE;
let failures = 0;
let timer;
let asking; // the newest look; an older one's answer counts for nothing
let latest; // what it brought
let uploads; // which ids stand in the list of uploads, and whether anything is under way

/* --- what is shown --- */

const news = {
  completed: (video) => `${nameOf(video)} can be watched.`,
  failed: (video) => `${nameOf(video)} could not be prepared: ${video.error ?? ''}`,
};

function tellNews(video, before) {
  if (!ours.has(video.id) || before === video.state || !news[video.state]) return;
  ours.delete(video.id);
  announce(news[video.state](video));
}

function cardOf(video) {
  const known = cards.get(video.id);
  if (known) return known;
  const card = new Card({
    retry: () => {
      ours.add(video.id);
      act(card, 'POST', '/retry');
    },
    remove: () => remove(card),
    // The page that is left can't upload any more.
    opened: (link) => (link.target = uploads.busy() ? '_blank' : ''),
  });
  cards.set(video.id, card);
  return card;
}

const cardAt = (element) => [...cards.values()].find((card) => card.element === element);

function drop(id) {
  const { element } = cards.get(id);
  const focused = element.contains(document.activeElement);
  const neighbour = element.nextElementSibling ?? element.previousElementSibling;

  cards.delete(id);
  element.remove();
  if (!focused) return;
  if (neighbour) cardAt(neighbour).focus();
  else $('library-title').focus();
}

// Elements that stand where they should are not touched: moving one takes the focus away.
function show(videos) {
  const list = $('library');
  const ids = new Set(videos.map(({ id }) => id));

  for (const id of cards.keys()) if (!ids.has(id)) drop(id);
  videos.forEach((video, at) => {
    const card = cardOf(video);
    const before = card.video?.state;

    card.show(video);
    tellNews(video, before);
    if (list.children[at] !== card.element) list.insertBefore(card.element, list.children[at] ?? null);
  });
}

/* --- asking --- */

// Pages until there are as many as wanted.
async function load() {
  const videos = [];
  let page;

  do {
    const limit = Math.min(LIMIT_MAX, wanted - videos.length);
    const cursor = page ? `&cursor=${encodeURIComponent(page.next)}` : '';
    page = await call('GET', `/api/v1/videos?limit=${limit}${cursor}`);
    videos.push(...page.videos);
  } while (page.next && videos.length < wanted);
  return { videos, more: Boolean(page.next), rebuilding: Boolean(page.rebuilding) };
}

function noteOf(count, rebuilding) {
  if (rebuilding) return 'The list is being put in order; some videos may be missing for a moment.';
  return count === 0 ? 'No videos yet. What you upload appears here.' : '';
}

function note(text) {
  put($('library-note'), text);
  $('library-note').hidden = text === '';
}

// Also when the list of uploads has changed: what stands there need not stand here. Returns whether anything goes on.
export function draw() {
  if (!latest) return true;
  const elsewhere = uploads.videos();
  const shown = latest.videos.filter(({ id }) => !elsewhere.has(id));

  show(shown);
  note(noteOf(shown.length, latest.rebuilding));
  $('more').hidden = !latest.more;
  return latest.rebuilding || shown.some(unfinished);
}

function plan(active) {
  const pause = failures > 0 ? Math.min(RETRY_MAX_MS, SOON_MS * 2 ** failures) : active ? SOON_MS : LATER_MS;

  clearTimeout(timer);
  timer = setTimeout(refresh, document.hidden ? HIDDEN_MS : pause);
}

export async function refresh() {
  const look = (asking = load());
  let active = true;

  try {
    const answer = await look;
    if (look !== asking) return;
    latest = answer;
    failures = 0;
    active = draw();
  } catch (error) {
    if (look !== asking) return;
    failures += 1;
    note(`The list can’t be read: ${error.message} Trying again…`);
  }
  plan(active);
}

/* --- doing --- */

async function act(card, method, path = '') {
  const { id } = card.video;

  try {
    await call(method, `/api/v1/videos/${id}${path}`);
    notice('');
  } catch (error) {
    notice(error.message);
  }
  await refresh();
}

async function remove(card) {
  const name = nameOf(card.video);

  if (!(await ask(`Delete ${name}? It can’t be brought back.`, 'Delete it'))) return;
  await act(card, 'DELETE');
  if (!cards.has(card.video.id)) announce(`${name} is deleted.`);
}

async function showMore() {
  const shown = cards.size;

  wanted += PAGE;
  await refresh();
  cardAt($('library').children[shown])?.focus();
}

// A video has arrived from this page.
export function arrived(id) {
  ours.add(id);
  refresh();
}

export function run(list) {
  uploads = list;
  $('more').addEventListener('click', showMore);
  document.addEventListener('visibilitychange', () => document.hidden || refresh());
  refresh();
}
