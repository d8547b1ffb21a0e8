// One line of the list of uploads: a task, or one that waits for its file.
import { copy, put } from './page.js';
import { left, size, time } from './format.js';

// The button of a state, and what the line says.
const looks = {
  queued: { verb: '', say: () => 'Waits for its turn' },
  uploading: { verb: 'Pause', say: underWay },
  waiting: { verb: 'Try now', say: (task) => `${task.why} Trying again in ${secondsUntil(task.until)} s.` },
  paused: { verb: 'Resume', say: (task) => `Paused · ${share(task.sent, task.file.size)}` },
  failed: { verb: 'Try again', say: (task) => task.why },
  over: { verb: '', say: (task) => task.why }, // it failed for good
  done: { verb: '', say: () => 'Uploaded' },
  cancelled: { verb: '', say: () => 'Cancelled' },
};

const secondsUntil = (when) => Math.max(0, Math.ceil((when - Date.now()) / 1000));
const share = (sent, whole) => `${size(sent)} of ${size(whole)}`;

function underWay(task) {
  const { sent, meter, file } = task;

  if (!task.url) return 'Starting…';
  if (sent >= file.size) return 'All sent. The server is storing it…';
  const speed = meter.perSecond;
  if (speed < 1) return share(sent, file.size);
  return `${share(sent, file.size)} · ${size(speed)}/s · ${left((file.size - sent) / speed)}`;
}

export class Row {
  #part;

  // act and cancel: what its buttons do; chosen: what becomes of a file that was chosen for it.
  constructor(name, { act, cancel, chosen }) {
    this.element = copy('upload');
    this.#part = (selector) => this.element.querySelector(selector);
    put(this.#part('.name'), name);
    for (const unseen of this.element.querySelectorAll('span.unseen')) put(unseen, ` ${name}`);
    this.#part('progress').setAttribute('aria-label', `Upload of ${name}`);
    this.#part('.act').addEventListener('click', act);
    this.#part('.cancel').addEventListener('click', cancel);
    this.#part('input').addEventListener('change', ({ target }) => {
      if (target.files.length > 0) chosen(target.files[0]);
      target.value = '';
    });
  }

  choose() {
    this.#part('input').click();
  }

  #show(state, verb, text, fraction) {
    const act = this.#part('.act');

    this.element.dataset.state = state;
    put(this.#part('.verb'), verb);
    if (verb === '' && act === document.activeElement) this.#part('.cancel').focus();
    act.hidden = verb === '';
    put(this.#part('.state'), text);
    this.#part('progress').value = fraction;
  }

  showTask(task) {
    const look = looks[task.final ? 'over' : task.state];
    this.#show(task.state, look.verb, look.say(task), task.sent / task.file.size);
  }

  // `known` is what look() of earlier.js found out.
  showEarlier(upload, known) {
    const there = known.sent >= 0 ? `${share(known.sent, upload.size)} arrived.` : 'It is not known how much arrived.';
    const until = known.expires ? ` Kept until ${time(new Date(known.expires))}.` : '';

    this.#show('earlier', 'Choose file', `${there} To go on, choose the same file again.${until}`,
      (known.sent ?? 0) / upload.size);
  }
}
