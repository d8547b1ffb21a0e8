// What every part of the page uses: elements, texts, news for a screen reader, questions, the api.

export const $ = (id) => document.getElementById(id);

export const copy = (id) => $(id).content.firstElementChild.cloneNode(true);

// Leaves alone what says so already.
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let news = [];

// Read out when there is a pause; what comes together is said together.
export function announce(text) {
  if (news.push(text) > 1) return;
  setTimeout(() => {
    const line = document.createElement('p');
    line.textContent = news.join(' ');
    $('news').replaceChildren(line); // a new element, so that the same words are news again
    news = [];
  }, 500);
}

// The same for everybody to see, until the next one.
export function notice(text) {
  put($('notice'), text);
  $('notice').hidden = text === '';
  if (text !== '') announce(text);
}

// True when the answer is yes.
export function ask(question, yes) {
  const dialog = $('ask');

  put($('question'), question);
  put($('yes'), yes);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

// The JSON that the api answers with. A failure is an Error with a sentence for the reader.
export async function call(method, path) {
  const answer = await fetch(path, { method, cache: 'no-store' }).catch(() => null);
  if (!answer) throw new Error('The server does not answer at the moment.');
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => null);
  if (answer.ok && body) return body;
  throw Object.assign(new Error(body?.detail ?? `The server answered with status ${answer.status}.`), {
    status: answer.status,
  });
}
