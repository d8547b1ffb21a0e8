// Numbers as people read them.

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'];

export function size(bytes) {
  let unit = 0;
  let n = bytes;

  while (n >= 999.5 && unit < UNITS.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${n.toFixed(unit > 0 && n < 9.95 ? 1 : 0)}\u00a0${UNITS[unit]}`;
}

// Coarse on purpose: what changes all the time can't be read.
export function left(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))}\u00a0s left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes}\u00a0min left`;
  return `${Math.floor(minutes / 60)}\u00a0h ${minutes % 60}\u00a0min left`;
}

// 1:02:03
export function length(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];

  if (parts[0] === 0) parts.shift();
  return parts.map((part, at) => (at === 0 ? String(part) : String(part).padStart(2, '0'))).join(':');
}

const thisYear = { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' };

export function time(date) {
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' };
  return new Intl.DateTimeFormat('en-GB', { ...thisYear, ...year }).format(date);
}
