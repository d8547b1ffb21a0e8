// The player page: waits until the video can be played, says how far it is, and then plays it.
import Hls from 'hls.js';

const POLL_MS = 1000;
const POLL_MAX_MS = 15000;
const MAX_INTERRUPTIONS = 5;
const MAX_RECOVERIES = 3;

const id = location.pathname.split('/').filter(Boolean).pop();
const base = `/v/${id}`;
const $ = (name) => document.getElementById(name);
const video = $('video');

/* --- waiting --- */

const waiting = {
  uploading: 'The video is being uploaded.',
  waiting: 'The video is in the queue and will be prepared soon.',
  active: 'The video is being prepared.',
  delayed: 'Preparing the video did not work yet; it will be tried again.',
};

function say(text, percent) {
  const status = $('status');
  if (status.textContent !== text) status.textContent = text; // or a screen reader repeats it every second
  $('notice').hidden = text === '';
  const progress = $('progress');
  progress.hidden = percent === undefined;
  if (percent !== undefined) progress.value = percent;
}

function describe(info) {
  const title = info.title || info.filename || 'Video';
  document.title = `${title} – Weir`;
  $('title').textContent = title;
  video.setAttribute('aria-label', title);
  $('description').textContent = info.description ?? '';
  $('description').hidden = !info.description;
  if (info.width && info.height) $('stage').style.setProperty('--shape', `${info.width} / ${info.height}`);
}

// One look: what to do next. Also what has failed or was cancelled may be tried again by somebody.
function next(info) {
  describe(info);
  if (info.playable) return play();
  if (info.state === 'failed') {
    say(`This video could not be prepared. ${info.error ?? ''}`);
    return setTimeout(look, POLL_MAX_MS);
  }
  if (info.state === 'cancelled') {
    say('Preparing this video was cancelled.');
    return setTimeout(look, POLL_MAX_MS);
  }
  say(waiting[info.state] ?? 'The video is not ready yet.', info.progress?.percent ?? undefined);
  return setTimeout(look, POLL_MS);
}

let failures = 0;

async function look() {
  try {
    const answer = await fetch(`${base}/status.json`, { cache: 'no-store' });
    if (answer.status === 404) {
      document.title = 'No such video – Weir';
      $('title').textContent = 'No such video';
      return say('There is no such video. It may have been deleted.');
    }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const info = await answer.json();
    failures = 0;
    return next(info);
  } catch {
    failures += 1;
    say('The server does not answer at the moment. Trying again…');
    return setTimeout(look, Math.min(POLL_MAX_MS, POLL_MS * 2 ** failures));
  }
}

/* --- playing --- */

let silent = false; // it has no sound: nothing to turn on

function hush(yes) {
  silent = yes;
  $('stage').classList.toggle('silent', yes);
  $('sound-key').hidden = yes;
  if (yes) $('unmute').hidden = true;
}

async function begin() {
  try {
    await video.play();
  } catch (refused) {
    if (refused.name !== 'NotAllowedError') return;
    video.muted = true; // browsers let a page start by itself only without sound
    try {
      await video.play();
      $('unmute').hidden = silent;
    } catch {
      video.muted = false; // the viewer presses play
    }
  }
}

let position = -1; // where to go on after an interruption
let interruptions = 0; // since the last thing that was read

// Whether it makes sense to go on is for look() to find out: the video may be deleted, or the server away for a moment.
function interrupted() {
  position = video.currentTime > 0 ? video.currentTime : position;
  interruptions += 1;
  for (const part of ['video', 'quality-label', 'unmute', 'keys']) $(part).hidden = true;
  if (interruptions > MAX_INTERRUPTIONS) return say('The video cannot be played at the moment. Reload the page to try again.');
  say('Playback was interrupted. Trying again…');
  return setTimeout(look, POLL_MS * interruptions);
}

function play() {
  say('');
  video.poster = `${base}/poster.jpg`;
  video.hidden = false;
  $('keys').hidden = false;
  if (Hls.isSupported()) playWithHls();
  else if (video.canPlayType('application/vnd.apple.mpegurl')) {
    video.onerror = interrupted;
    video.onloadedmetadata = () => hush(video.audioTracks?.length === 0);
    video.src = `${base}/master.m3u8`;
    begin();
  } else say('This browser cannot play HLS video.');
}

function playWithHls() {
  const hls = new Hls({
    workerPath: '/web/hls.worker.js',
    startPosition: position,
    maxBufferLength: 30,
    maxMaxBufferLength: 60, // what a viewer who leaves has not seen was fetched for nothing
  });
  let recoveries = 0;

  window.weir = { hls, video }; // for tests and for curious people at the console
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    offerQualities(hls);
    hush(hls.levels.every(({ videoCodec, audioCodec }) => videoCodec && !audioCodec));
    begin();
  });
  hls.on(Hls.Events.FRAG_BUFFERED, () => {
    interruptions = 0;
  });
  hls.on(Hls.Events.ERROR, (_event, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && recoveries < MAX_RECOVERIES) {
      recoveries += 1;
      hls.recoverMediaError();
      return;
    }
    interrupted();
    hls.destroy();
  });
  hls.loadSource(`${base}/master.m3u8`);
  hls.attachMedia(video);
}

function offerQualities(hls) {
  const menu = $('quality');
  const levels = hls.levels
    .map((level, index) => ({ index, height: Math.min(level.width, level.height), rate: level.bitrate }))
    .sort((a, b) => b.rate - a.rate);
  const auto = new Option('Automatic', '-1');

  menu.replaceChildren(auto, ...levels.map(({ index, height }) => new Option(`${height}p`, String(index))));
  menu.onchange = () => {
    hls.nextLevel = Number(menu.value);
  };
  hls.on(Hls.Events.LEVEL_SWITCHED, (_event, { level }) => {
    const now = levels.find(({ index }) => index === level);
    auto.textContent = now ? `Automatic (${now.height}p)` : 'Automatic';
  });
  $('quality-label').hidden = levels.length < 2;
}

/* --- keys --- */

const toggle = () => (video.paused ? begin() : video.pause());
const native = new Set([' ', 'ArrowLeft', 'ArrowRight']); // what a focused video element does by itself
const keys = {
  ' ': toggle,
  k: toggle,
  ArrowLeft: () => (video.currentTime -= 5),
  ArrowRight: () => (video.currentTime += 5),
  j: () => (video.currentTime -= 10),
  l: () => (video.currentTime += 10),
  m: () => silent || (video.muted = !video.muted),
  f: () => (document.fullscreenElement ? document.exitFullscreen() : $('stage').requestFullscreen?.()),
  q: () => $('quality').focus(),
};

document.addEventListener('keydown', (event) => {
  const act = keys[event.key];
  if (!act || video.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('select, input, button') || (event.target === video && native.has(event.key))) return;
  event.preventDefault();
  act();
});

$('unmute').addEventListener('click', () => {
  video.muted = false;
  $('unmute').hidden = true;
  video.focus();
});
video.addEventListener('volumechange', () => {
  if (!video.muted) $('unmute').hidden = true;
});

look();
