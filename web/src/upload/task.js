// One file on its way. It goes on until the server has every byte, whatever breaks meanwhile.
import { Upload } from 'tus-js-client';
import { Meter } from './meter.js';
import { terminate } from './earlier.js';

const ENDPOINT = new URL('/api/v1/uploads', location.href).href;
const RETRY_S = [1, 3, 5, 10, 20, 30];
const RETRY_MOST_S = 60;
const PASSING = new Set([408, 409, 423, 425, 429]); // and every 5xx
const FINAL = new Set([400, 413, 415]); // the file, or what was said of it, will not do: the same again ends the same

const sentences = {
  'queue-full': 'The server’s queue of videos is full at the moment.',
  'too-many-uploads': 'The server has as many uploads as it takes at once.',
  rebuilding: 'The server is putting its list of videos in order.',
  starting: 'The server is starting.',
};

function problemOf(response) {
  try {
    return JSON.parse(response.getBody()) ?? {};
  } catch {
    return {};
  }
}

function whyNotNow(response) {
  if (!response) return navigator.onLine ? 'The connection was lost.' : 'There is no network.';
  const known = sentences[problemOf(response).type?.split(':').pop()];
  if (known) return known;
  return response.getStatus() === 423 ? 'The server still has to store what came.' : 'The server can’t take it now.';
}

async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

// States: queued → uploading ⇄ waiting (to try again) → done; paused; failed; cancelled.
export class Task {
  state = 'queued';
  sent = 0; // bytes, of which the last ones may not have arrived
  why = ''; // it waits, or failed: a sentence
  final = false; // it failed, and would again
  until = 0; // it waits: when it tries again
  meter = new Meter();
  #upload;
  #changed;
  #timer;
  #tries = 0;
  #acknowledged = 0;

  // `changed` is called with the task after each change of its state.
  constructor(file, print, title, changed) {
    const metadata = { filename: file.name };

    this.file = file;
    this.#changed = changed;
    if (title) metadata.title = title;
    if (file.type) metadata.filetype = file.type;
    this.#upload = new Upload(file, {
      endpoint: ENDPOINT,
      chunkSize: Infinity,
      retryDelays: null, // #broken decides: it knows how long the server asks to wait
      metadata,
      fingerprint: async () => print,
      removeFingerprintOnSuccess: true,
      onAfterResponse: (request, response) => this.#answered(request, response),
      onProgress: (sent) => {
        this.sent = sent;
        this.meter.add(sent);
      },
      onUploadUrlAvailable: () => this.#changed(this),
      onSuccess: () => this.#become('done'),
      onError: (error) => this.#broken(error),
    });
  }

  get url() {
    return this.#upload.url;
  }

  // The video that it becomes: an upload's address ends in <video id>~<secret>.
  get video() {
    return this.url?.split('/').pop().split('~')[0];
  }

  goOn(earlier) {
    this.#upload.resumeFromPreviousUpload(earlier);
  }

  begin() {
    this.meter.reset();
    this.#become('uploading');
    this.#upload.start();
  }

  pause() {
    this.#stop('paused');
  }

  again() {
    this.#tries = 0;
    this.#stop('queued');
  }

  async cancel() {
    const { url } = this;

    this.#stop('cancelled');
    if (url) await terminate(url);
  }

  #become(state, why = '') {
    this.state = state;
    this.why = why;
    this.#changed(this);
  }

  #stop(state) {
    clearTimeout(this.#timer);
    this.#upload.abort();
    this.#become(state);
  }

  // On HEAD the library takes every answer but 423 for "gone" and would begin again from the first byte.
  #answered(request, response) {
    if (request.getMethod() !== 'HEAD') return;
    const status = response.getStatus();
    const told = status < 300 || status === 404 || status === 410;
    if (!told) throw Object.assign(new Error(`HEAD: ${status}`), { response });
    const offset = Number(response.getHeader('Upload-Offset'));
    if (offset > this.#acknowledged) this.#tries = 0;
    this.#acknowledged = offset;
  }

  async #broken(error) {
    const response = error.originalResponse ?? error.causingError?.response;
    const status = response?.getStatus() ?? 0;

    if (status >= 400 && status < 500 && !PASSING.has(status)) {
      this.final = FINAL.has(status);
      return this.#become('failed', problemOf(response).detail ?? `The server refused it with status ${status}.`);
    }
    if (!response && !(await readable(this.file))) {
      if (this.state !== 'uploading') return undefined;
      this.final = true;
      return this.#become('failed', 'The file can’t be read any more: it was moved or changed. Choose it again.');
    }
    if (this.state !== 'uploading') return undefined; // the reader was faster
    if (status === 409 && this.#tries === 0) return this.#askAgain();
    return this.#waitFor(Number(response?.getHeader('Retry-After')), whyNotNow(response));
  }

  // The last bytes of a broken connection may be stored a moment after the server was asked how far it is.
  #askAgain() {
    this.#tries = 1;
    return this.begin();
  }

  #waitFor(asked, why) {
    const own = RETRY_S[Math.min(this.#tries, RETRY_S.length - 1)];
    const seconds = asked > 0 ? Math.min(asked, RETRY_MOST_S) : own;

    this.#tries += 1;
    this.until = Date.now() + seconds * 1000;
    this.#timer = setTimeout(() => this.begin(), seconds * 1000);
    this.#become('waiting', why);
  }
}
