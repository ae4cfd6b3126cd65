// How times, sizes and names are written.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export const seconds = (text) => (text === null || text === undefined ? null : Number(text));
export const now = () => Date.now() / 1000;
export const iso = (text) => Date.parse(text) / 1000;
export const date = (at) => full.format(Number(at) * 1000);
export const time = (at) => clock.format(Number(at) * 1000);

// 75 → "1 min 15 s"; below ten seconds with a tenth.
export function duration(length) {
  const whole = Math.max(0, length);
  if (whole < 10) return `${whole.toFixed(1)} s`;
  const at = UNITS.findIndex(([, size]) => whole >= size);
  const [name, size] = UNITS[at];
  const rest = Math.floor((whole % size) / (UNITS[at + 1] || [0, 1])[1]);
  return at === 3 || !rest ? `${Math.floor(whole / size)} ${name}` : `${Math.floor(whole / size)} ${name} ${rest} ${UNITS[at + 1][0]}`;
}

export function ago(at) {
  const passed = now() - Number(at);
  return passed < 5 ? "just now" : `${duration(passed).split(" ").slice(0, 2).join(" ")} ago`;
}

export function size(bytes) {
  const names = ["B", "kB", "MB", "GB", "TB"];
  let value = Number(bytes);
  let at = 0;
  while (value >= 1000 && at < 4) [value, at] = [value / 1000, at + 1];
  return `${at && value < 100 ? value.toFixed(1) : Math.round(value)} ${names[at]}`;
}

export const gib = (bytes) => `${+(bytes / 2 ** 30).toFixed(2)} GiB`;
export const shorten = (text, length = 12) => (text.length > length + 3 ? `${text.slice(0, length)}…` : text);
export const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
