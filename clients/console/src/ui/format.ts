/** How much a number of bytes is, in words. */
export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = count / 1024;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** A time that something took, in milliseconds. */
export function lasted(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(s % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** How long ago a moment was (milliseconds since 1970). */
export function ago(ms: number, now = Date.now()): string {
  const past = Math.max(0, now - ms);
  return past < 2_000 ? "now" : `${lasted(past)} ago`;
}

/** A number with a sign that is one: `+0.20`, `−0.20`. */
export function signed(value: number, digits = 2): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return `${value < 0 ? "−" : "+"}${text}`;
}

export function percent(value: number): string {
  return `${Math.round(value * 100)} %`;
}

/** A whole number with its thousands apart. By hand: the browser takes ten milliseconds to learn how English does it. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `dialogue_style` → `dialogue style`. */
export function words(key: string): string {
  return key.replaceAll("_", " ");
}

/** At most so many characters. */
export function short(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
