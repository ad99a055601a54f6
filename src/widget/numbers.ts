const UNITS = ["bytes", "kB", "MB", "GB", "TB"] as const;

/** Stands in place of a number that is not known yet. */
export const NOTHING_YET = "–";

/** Bytes as the user reads them, in powers of 1000: "3.0 MB", "62 kB", "0 bytes". */
export function formatBytes(bytes: number): string {
  const unit = unitOf(bytes);
  const value = Math.max(0, bytes) / 1000 ** unit;
  const digits = unit < 2 || value >= 99.5 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/**
 * Bytes in the unit that fits `most`: a number that changes all the time should not change its unit
 * too. Example: 62 kB of at most 50 MB are "0.1 MB".
 */
export function formatBytesLike(bytes: number, most: number): string {
  const unit = unitOf(most);
  return `${(Math.max(0, bytes) / 1000 ** unit).toFixed(Math.max(0, unit - 1))} ${UNITS[unit]}`;
}

function unitOf(bytes: number): number {
  let unit = 0;
  while (bytes / 1000 ** unit >= 999.5 && unit < UNITS.length - 1) unit++;
  return unit;
}

/** Whole numbers with separators: "12,345". */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en");
}

/** One decimal below ten, none above: "9.4", "132". */
export function formatRate(rate: number): string {
  return rate < 10 ? rate.toFixed(1) : formatCount(rate);
}

/** A share of a whole in percent. "–" if the whole is 0, and "100 %" only if nothing is missing. */
export function formatShare(part: number, whole: number): string {
  if (whole <= 0) return NOTHING_YET;
  const percent = (100 * part) / whole;
  return part < whole && percent > 99 ? `${Math.min(99.9, percent).toFixed(1)} %` : `${Math.round(percent)} %`;
}

/** Milliseconds as the user reads them: "420 ms", "3.2 s". */
export function formatMs(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
