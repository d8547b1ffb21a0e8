// Uploads that this browser has begun and not ended. It can't open their files again by itself, but knows where each
// one goes on once its file is there.
import { defaultOptions, Upload } from 'tus-js-client';

const storage = defaultOptions.urlStorage;
const TERMINATE_DELAYS = [0, 1000, 3000];

// Newest first.
export async function begun() {
  const all = await storage.findAllUploads();
  return all
    .filter((upload) => upload.urlStorageKey.startsWith('tus::weir-') && upload.uploadUrl)
    .sort((a, b) => Date.parse(b.creationTime) - Date.parse(a.creationTime));
}

export const printOf = (upload) => upload.urlStorageKey.split('::').slice(1, -1).join('::');

// How far the server has it: {sent, expires}, {over: true} when there is nothing to go on with, {} when it can't tell.
export async function look(upload) {
  const answer = await fetch(upload.uploadUrl, {
    method: 'HEAD',
    cache: 'no-store',
    headers: { 'Tus-Resumable': '1.0.0' },
  }).catch(() => null);
  if (answer?.status === 404 || answer?.status === 410) return { over: true };
  if (!answer?.ok) return {};
  const sent = Number(answer.headers.get('Upload-Offset'));
  return { sent, over: sent === upload.size, expires: answer.headers.get('Upload-Expires') };
}

export async function forget(url) {
  const all = await storage.findAllUploads();
  for (const upload of all) if (upload.uploadUrl === url) await storage.removeUpload(upload.urlStorageKey);
}

// Takes back what the server has. What it can't be told now goes by itself after a while.
export async function terminate(url) {
  await forget(url);
  await Upload.terminate(url, { retryDelays: TERMINATE_DELAYS }).catch(() => {});
}
