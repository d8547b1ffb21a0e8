// What other tabs of this browser are uploading, so that this one does not take it for given up.

const channel = new BroadcastChannel('weir-uploads');
const me = crypto.getRandomValues(new Uint32Array(2)).join('-');
const others = new Map(); // tab → addresses of uploads
let mine = [];

export const elsewhere = (url) => [...others.values()].some((urls) => urls.includes(url));

export function tell(urls) {
  if (urls.join() === mine.join()) return;
  mine = urls;
  channel.postMessage({ tab: me, urls });
}

// `changed` is called when another tab begins or ends something.
export function listen(changed) {
  channel.onmessage = ({ data }) => {
    if (data.hello) return channel.postMessage({ tab: me, urls: mine });
    others.set(data.tab, data.urls);
    return changed();
  };
  channel.postMessage({ hello: true });
  addEventListener('pagehide', () => tell([]));
}
